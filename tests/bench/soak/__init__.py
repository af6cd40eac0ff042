"""Ten minutes of random faults from a seed, every request's history checked.

    python -m tests.bench.soak --seconds 600 --seed 1

Tests of one fault at a time prove what was thought of. Here eleven kinds of clients ask the daemon for
everything that HTTP/1.1 has, while its four servers are killed, stopped, blackholed, slow, broken and
restarted, and its file changes under it. Afterwards each request is judged by three witnesses: the client,
the servers' journals and the daemon's access log.

    ok means executed, by the server that is named, with the content that was sent; each byte of an
        answer is right, or the answer is visibly broken
    a POST reaches one server at the most, once, whatever happens
    what may be sent again does not fail while one server alone is in trouble
    three attempts at the most; a content that was cut short is executed by nobody
    at the end connections, kept content, descriptors and memory are back where they began, and the
        log has no warning and no error

    content    bytes that both ends can make
    origin     a server, as a process        servers    the same, as its parent sees it
    wire       one connection of a client    clients    eleven kinds of them
    faults     a plan from the seed          rest       the daemon when nobody asks anything of it
    history    the witnesses, and the judge  run        from the start to the report
"""
