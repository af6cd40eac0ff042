"""Answers one request.

    exchange   the way in, and the answer that comes out
    course     the one place that says again or stop (core.retry decides, this carries out)
    attempt    one try: a connection, the request on it, the answer from it, the record of it
    sending    the request's way out: head, Expect, content
    outcome    what goes into an attempt and what comes out, as values
    reach      from a target to a connection: pool, names, order, race, tier after tier
    live       a target in use, and what all targets of a process share
    replay     the request's content, and whether it can be sent again
    resume     the rest of an answer that broke off, from another server (core.resume says what it is)
    recording  what is kept of an attempt, and what its observer is told
    breakage   what ended a connection: a verdict, words, evidence
    failure    from the records of a failed exchange to the caller's error

Who may start what: `course` starts attempts, in a nursery only behind a suspicion; `resume` opens one
to read on from a suspect while the rest is asked for; `sending` starts at most one task of its own (the
one that uploads what cannot go out at once), and content that is a stream one that reads it. Everything
else is straight-line code in the caller's task.
"""
