"""The whole data plane on the simulated network, a seed at a time.

    python -m tests.proxy.simulation --seeds 10000
    python -m tests.proxy.simulation --seed 4711        # one, told whole

A seed is a world: a target and a door with settings of their own, clients and what each of them does
(plan), three servers with their whims (servers), and what befalls them (faults): partitions, resets, lost
connections, restarts, slow drips, name servers that lie. Trio's own scheduler is shuffled by the same
seed, so that a seed is one order of events, and comes again when it is asked for.

What must hold is judged from the history of each request (history): what its client got, what servers ran,
what the sidecar told of it.
"""
