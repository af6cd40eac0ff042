"""The doors in front of the engine, one file a station of the way in.

Empty as yet: the library and the command enter at `haclient.engine`. The daemon adds its listeners
here, between `ops` and `engine`.
"""
