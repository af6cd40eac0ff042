"""Answers one request.

    exchange   the way in, and the answer that comes out
    course     the one place that says again or stop (core.retry decides, this carries out)
    attempt    one try: how far it is, what interrupts it, what its end means
    outcome    what goes into an attempt and what comes out of it, as values
    keyed      what the decision to resend needs to know of a request, and the key that it is given
    replay     the request's content, and whether it can be sent again
    resume     the rest of an answer that broke off, from another server (core.resume says what it is)

An attempt's connection:

    holding    from its lease to its release, and what its end says of its server
    talk       a request and its answer on it
    sending    the request's way out: head, Expect, content
    dial       one for a protocol that is not ours, of one client alone

The way to a connection:

    leasing    which idle one serves
    sticky     the way to a client's own server
    reach      whom to ask for a new one, and whom only when nobody else can be had: names, tiers
    connecting  from addresses to a connection: room at each, the race, the queue

A target, and what is done for it on nobody's request:

    live       a target in use, and what all targets of a process share
    standby    a connection to another server, ready while a request waits
    trial      a better server that is out of use, tried out
    checks     its health requests, and what follows from them
    health_request    one of them

What is told:

    recording  what is kept of an attempt, and what its observer is told
    breakage   what ended a connection: a verdict, words, evidence
    failure    from the records of a failed exchange to the caller's error

Who may start what, for a request: `course` a second attempt, in a nursery behind a suspicion alone; `resume` one,
while it reads on from a suspect; `sending` one task, for what cannot go out at once, and `replay` one that reads a
content that is a stream; `reach` a lookup for each of several names, `connecting` a wait at each of several origins,
and the race that it calls (net.racer) a task for each connect. Each has ended when its nursery closes.
For a target, in the engine's own nursery: `standby`, `trial`, `checks`. Nothing else here starts a task, and a
request on an idle connection whose content goes out at once runs in the caller's alone.
"""
