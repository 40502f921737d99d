"""Which responses are read together, in which order, and how their scores become one per response.

A plan is a list of branches; a branch is an ordered tuple of response indices that one pass reads after the
shared prefix. For three responses:

    --mode multi      (0,1,2)                       the paper: one branch, the order given
    --mode single     (0) (1) (2)                   each judged alone
    --orders 3        (0,1,2) (1,2,0) (2,0,1)       order bias averaged out, and measured
    --window 2        (0,2) (1,0) (2,1) ...         many responses, a few at a time

A score compares only with the others of its branch: every branch has an unknown offset of its own. `join`
removes it by least squares, which for full orders is the plain mean of the centred branches.
"""
