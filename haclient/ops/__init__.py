"""The process: what a person types, what is shown, and the daemon.

    main          finds the command; imports nothing that it does not need
    importing     interrupts while that is imported
    options, command_line, exit_codes    how a command line is read, and what a process ends with

`haclient request`:

    settings, assembly      what was asked for, of the daemon's file too; what a client is made of
    request_plan, content, header_lines, routes, rerouting, redirects, cookies    what that means
    request, transfers, transfer, meter    carry it out on haclient.client
    output, progress, verbose, summary, write_out, trace, trace_json, style       what is shown

The daemon:

    serve, daemon           reads the file; starts, reloads, drains
    inherited, sdnotify     its service manager: sockets from it, words to it
    config_keys, config_kinds, config_guards, config_tcp    every key once, and what its value may be
    config_file, config_read, config_tls, toml_lines, config_error    the file, with all its errors at once
    config_schema, config_view, reload_report    the keys for editors, in force, and changed
    log, log_text, line_writer, access_log, steps_log, name_log, turned_away_log, full_door_log    one line for each thing that happened
    seldom                  one line each few seconds of what strangers can bring about
    book, last_known, feed    what is known of the past, and told as it happens
    changes, destination_changes, health_change    addresses that fail, and answer again
    admin_server, admin, control, admin_page    the admin endpoint
    status_build, status_report, metrics        what it answers
    check, window_text      `haclient check`
    admin_client, status, status_table, orders  the commands that ask it: status, ready, drain, reload

The other commands, each with its parts:

    explain, explain_race, explain_resend, explain_text
    doctor, doctor_checks, doctor_bound
    demo, demo_scenes, demo_screen, demo_narrator, demo_figures    what a spectator sees
    demo_servers, demo_origin, demo_sidecar, demo_client, demo_load    what runs for that
    passwd                  writes a user's hashed password
    completion

Nothing below this layer imports it.
"""
