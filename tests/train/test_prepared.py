"""Options of a training that name what a prepared dataset holds."""

import pytest

from molvae.config import load_config
from molvae.data.prepare import prepare
from molvae.errors import ConfigError
from molvae.train.run import _open_dataset


def test_a_column_is_named_as_in_the_dataset(tmp_path):
    table = tmp_path / "export.csv"
    table.write_text("smiles,Standard Value\n" + "".join(f"{'C' * n}O,{n}\n" for n in range(1, 9)))
    options = {"data.properties": {"activity": "Standard Value"}}
    prepare([table], tmp_path / "export.ds", load_config(overrides=options).data, workers=0)

    def opened(column):
        config = load_config(overrides={"data.properties": {"activity": column}})
        return _open_dataset([tmp_path / "export.ds"], config, 0, None, None)

    assert opened("activity").names[-1] == "activity"  # -p activity
    assert opened("Standard Value").names[-1] == "activity"
    with pytest.raises(ConfigError, match=r"activity was 'Standard Value', is 'Other'"):
        opened("Other")
