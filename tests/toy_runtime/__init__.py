"""A runtime that exists to be added: float weights in a NumPy archive, run by the decoder in plain torch.

It has the three parts every runtime has (`family`, `lowering`, `driver`) and touches the three tables a new
runtime touches (`tables`). Not a runtime anyone ships.
"""
