"""The OpenTelemetry metrics API over the ledger: what any library records is seen by all processes.

`provider.py` is the way in. An instrument (`synchronous.py`, `observable.py`) knows for each set of
attributes where it is recorded (`places.py`), and stores there: no lock, no reader, no aggregation.
"""
