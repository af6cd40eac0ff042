"""Decisions, and nothing else.

Nothing in this layer may import trio, socket, ssl, h11, dns, logging, time or random: time and
chance are arguments, so that a test can say what "now" is and every run is the same. A machine is
a class with one method for each event; each returns a tuple of actions, frozen values that its
driver in a layer above carries out, or one verdict. Machines never raise for what a peer does, only
for a driver's mistake. tests/meta/test_layers.py holds the rule.

Machines:

    race        which connects start when, which one wins      driver: net.racer
    places      how many connections, who waits, who is next   driver: net.pool
    pool_state  who gets which connection, what is closed      driver: net.pool
    detector    dead, suspect or only slow                     driver: net.watch
    lookup      which names are asked for, when it is enough   driver: net.name_lookup
    question    which name server is asked one of them         driver: net.name_lookup, through lookup
    dns_cache   what is believed, asked anew, served stale     driver: net.name_memory
    retry       again, elsewhere, or stop                      driver: engine.course
    health_check   what health requests say of an address      driver: engine.checks
    client_limits  what a look at a client has to ask          driver: proxy.client_side
    turns       whose password is checked next                 driver: proxy.credentials

What is remembered and counted:

    health      what an address went through lately
    budget      how many copies of requests living servers carry
    owners      whose client is whose, and who moved where
    spread      whose turn it is, where requests are spread
    trial       which better server, out of use, is tried out
    met         what an attempt met on its way to a connection
    server_order  in which order name servers are asked

Functions, tables and values:

    affinity    which requests belong together
    balance     which endpoint is asked before which
    keepalive   the arithmetic of detection
    tunnel_end  what a tunnel came to
    resume      whether, and how, an answer that broke off goes on from another server
    framing, response_head    heads as bytes
    request_head, response_judge    heads judged
    head_pattern  heads in their common form, read
    chunked     chunked content, read strictly
    fields      what of a message's fields crosses the sidecar
    connection_auth  whether credentials speak of the connection
    idempotency  whether a request may run twice
    loops, proxy_status    Via and Proxy-Status
    tls_records  where TLS records end
    routes      which target a request goes to
    destination, allow    whom a forward proxy is asked for, and may reach
    users, certificate, openness    passwords, validity, who can reach a door
    names, dns_answer, services, saved_names    what is known of names, and said of them
    url, spec, config, config_check    what a user can say, and what is wrong with it
"""
