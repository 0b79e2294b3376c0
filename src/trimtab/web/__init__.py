"""The API: requests in, the engine's queries and commands asked, JSON out. It decides nothing and reads no store or target.

`app.py` joins the parts, `routes.py` is the table of what there is, `guard.py` lets in who may, `server.py` listens.
docs/reference/api.md describes each route, and a test compares the two.
"""
