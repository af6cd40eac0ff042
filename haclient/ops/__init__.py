"""The process: what a person types, and what is shown.

    main          finds the command; imports nothing that it does not need
    options, command_line, settings      what was asked for
    request_plan, content, header_lines, routes, rerouting, redirects, cookies    what that means
    request, transfer                    carries it out on haclient.client
    output, progress, verbose, write_out, trace, trace_json, style, exit_codes    what is shown
    explain, doctor, demo, completion    the other commands, each with its parts

Nothing below this layer imports it.
"""
