"""The reversed socket: a daemon that listens, and an agent inside a login session that connects back.

It carries streams of KVM commands between viewers and the session's agent, and decides which process may be that agent.
It knows nothing about screens: the agent gives each viewer's stream to a callable.
"""
