"""Any bytes, from a client or from a server, through the data plane on the simulated network.

    rig         the smallest data plane there is: one door, one server, one client
    requests    what a client may say, and what must come of it
    responses   what a server may say
    seeds       where mutations begin: the wires of tests/corpus
    fuzz_*      targets for a fuzzer that is guided by coverage (atheris)

The oracle is the strict reader of tests/corpus, which shares no line with haclient. Whatever is said ends
in forward, an error of ours or the connection's end, within five seconds, without an exception that
nobody expected; and what is forwarded reads as what was said.
"""
