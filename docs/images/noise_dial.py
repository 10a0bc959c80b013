"""Draw one molecule, decoded from its latent point at five noise levels.

python docs/images/noise_dial.py docs/images/noise_dial.png
"""

import sys

from rdkit import Chem, DataStructs
from rdkit.Chem import Draw, rdFingerprintGenerator

from molvae import MolVAE

SOURCE = "COc1ccc(CNC(=O)c2ccc(F)cc2)cc1"
LEVELS = (0.0, 0.5, 0.6, 0.75, 1.0)
SEEDS = (1, 2)


def main(path: str) -> None:
    """One column per noise level, one row per draw of the noise."""
    morgan = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=1024)
    source = morgan.GetFingerprint(Chem.MolFromSmiles(SOURCE))
    model = MolVAE.load()
    point = model.encode([SOURCE])
    molecules, legends = [], []
    for seed in SEEDS:
        for level in LEVELS:
            molecule = Chem.MolFromSmiles(model.decode(point, noise=level, seed=seed)[0])
            similarity = DataStructs.TanimotoSimilarity(source, morgan.GetFingerprint(molecule))
            molecules.append(molecule)
            legends.append(f"t = {level:g}   similarity {similarity:.2f}")
    picture = Draw.MolsToGridImage(
        molecules,
        molsPerRow=len(LEVELS),
        subImgSize=(240, 180),
        legends=legends,
        returnPNG=True,
    )
    with open(path, "wb") as file:
        file.write(getattr(picture, "data", picture))


if __name__ == "__main__":
    main(sys.argv[1])
