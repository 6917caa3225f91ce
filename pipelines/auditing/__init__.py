"""Whether a bundle can be trusted and used: a static audit that runs nothing of it, and the signed list of its files.

``audit`` reads configs, code and weights without evaluating, importing or unpickling any of them. A clean audit is no
proof: it finds what is known to go wrong, by accident or by intent, and an audited bundle is still a program.
"""
