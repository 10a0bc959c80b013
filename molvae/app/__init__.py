"""The page of ``molvae app``: Streamlit pages that call the library and hold nothing else.

``server`` starts it, ``main`` is the script that Streamlit runs for every tab, ``pages`` has one
module per page. The rest is shared: ``state`` (the session of a tab), ``models`` (loaded once per
process), ``cards``, ``targets``, ``sketch``, ``plots``, ``command`` and ``jobs``.
"""
