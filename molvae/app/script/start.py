"""The file that Streamlit runs. It has a folder to itself: beside it, ``pages`` means more."""

from molvae.app.main import main

__all__: list[str] = []

# Streamlit makes this script the main module, whose file a new worker process would run again.
globals().pop("__file__", None)
main()
