"""The doors in front of the engine, one file a station of the way in.

    listener     binds, accepts, pauses when the machine has no more to give
    entrance     where a connection goes, by what kind of door it is
    admission    who may enter, as far as that is known before a request is read
    handshake    TLS at a door, before anything else is said
    downstream   one client's connection: requests in one after another, answers out in their order
    client_side  its socket, and what a client may keep us waiting for
    credentials  whether a request's name and password are a user's
    forward      a forward proxy's way in: whom the request says, if that is allowed
    destinations  whom a forward listener was asked for lately
    connect      a tunnel, asked for by CONNECT
    refuse       what is no request, or none that is allowed: answered, and the connection ended
    account      what an exchange has come to, of requests and of CONNECT; told once it is over
    service      one request: routed, asked of the engine, its answer relayed, its record told
    inflow       the request's content, as the client sends it
    relay        the answer's way to the client
    reply        answers of haclient's own
    tunnel       bytes both ways after 101 and CONNECT, and in TCP mode; one task while it rests
    tcp          TCP mode: from a client's connection to a tunnel, whatever protocol it is
    directions   its two tasks, while there is more to do
    sides        what is known of its two sides: what is owed, and how each ended
    vigil        one look at every client's connection, four times a second: who left, who stalls
    door         a listener in use: its settings, its routes, who is inside
    gateway      what all connections of a process share
    trust        whom doors and targets trust, and what they show: users and certificates, from their files
    sidecar      all doors and targets of a process: start, reload, drain
    record       what is told of each exchange once it is over

A connection is one task; a request makes none (but for content too long to be read at once, and for
what the engine does in trouble). A client's connection has one cancel scope for all its life: whoever
finds that the client has left cancels it, and the engine closes what it was asking.
"""
