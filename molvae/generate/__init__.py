"""The property-guided latent sampler: propose molecules, keep those that meet the request.

1. *Propose*: decode at a noise level from the prior or around given molecules, with the requested
   conditions shown to the decoder; around the best so far, moved along the head's gradient.
2. *Exact critic*: RDKit computes the true properties of every candidate; of the candidates drawn
   for one wanted molecule the one nearest to the request is kept. Columns RDKit cannot compute
   are judged by the property head.

Every random number is addressed by (seed, molecule number, candidate, step), so batch size and
workers change nothing.
"""
