"""One proposal through 10/50/100 %: state machine, journal, approvals, resume after a crash."""
