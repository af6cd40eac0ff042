"""The daemon under abuse, with a good client beside: who is cut when, what it costs, who notices.

    python -m tests.bench.abuse [--only NAME]

Every abuse has a daemon of its own, a server in another process that plays along (origin), and a good
client in a third (good_client): twenty requests a second on a connection that is kept and as many on new
ones. First it is calm, then one abuse goes on, then what is left is counted.

    heads      what a client can do before its request has begun
    content    and in its content
    crowds     many at once: clients that leave, that send ahead, that only sit there
    servers    what a server can do
    stale      a pooled connection that ends just as a request is sent
    storm      every server answers 503
"""
