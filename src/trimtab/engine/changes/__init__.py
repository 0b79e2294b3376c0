"""Changes: what people propose, from the push to the merge.

`receiving` judges pushes and opens Changes, `desk` runs their lifecycles, `looking` makes candidate, plans, checks and requirements,
`previewing` the plans, `merging` moves the target branch.
"""
