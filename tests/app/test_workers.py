"""Worker processes of the app are those of the command line."""

import sys

import pytest

from molvae.runtime.processes import process_pool


@pytest.mark.process
def test_workers_do_not_run_the_script_again(app):
    app.run()
    assert not app.exception
    assert not hasattr(sys.modules["__main__"], "__file__")
    with process_pool(1) as pool:
        loaded = pool.submit(eval, "sorted(__import__('sys').modules)").result()
    assert not {"streamlit", "torch"} & set(loaded)
