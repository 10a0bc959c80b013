"""The file that Streamlit runs. It has a folder to itself: beside it, ``pages`` means more."""

from molvae.app.main import main

__all__: list[str] = []

main()
