"""Decisions, and nothing else.

Nothing in this layer may import trio, socket, ssl, h11, dns, logging, time or random: time and
chance are arguments, so that a test can say what "now" is and every run is the same. A machine is
a class with one method for each event; each returns a tuple of actions, frozen values that its
driver in `haclient.net` or `haclient.engine` carries out. Machines never raise for what a peer
does, only for a driver's mistake. tests/meta/test_layers.py holds the rule.

    race        which connects start when, which one wins     driver: net.racer
    places      how many connections, who waits, who is next   driver: net.pool
    pool_state  who gets which connection, what is closed      driver: net.pool
    detector    dead, suspect or only slow                     driver: net.watch
    lookup      which name server is asked what                driver: net.name_lookup
    dns_cache   what is believed, asked anew, served stale     driver: net.name_memory
    retry       again, elsewhere, or stop                      driver: engine.course
"""
