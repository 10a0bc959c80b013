"""How realistic a sample is: a critic by density ratio and a table of known ring systems.

*Critic* (:mod:`molvae.realism.critic`): a logistic regression between training molecules and own
samples estimates log p_data / p_model; a candidate is kept with the probability that rejection
sampling gives it. *Plausibility* (:mod:`molvae.realism.plausibility`): the ring systems and atom
environments of the training molecules, so that a refusal can name its reason. Training fits both at
its end, generation and optimization apply them (:mod:`molvae.realism.screen`). Nothing here loads
torch, because worker processes use it.
"""

__all__: list[str] = []  # import from the modules
