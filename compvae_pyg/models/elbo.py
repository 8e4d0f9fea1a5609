"""The evidence lower bound, term by term."""

from typing import Literal, NamedTuple

from torch import Tensor
from torch.distributions import Distribution

__all__ = ["Elbo", "Inferred"]

Inferred = Literal["none", "parts", "all"]


class Elbo(NamedTuple):
    r"""Terms of the evidence lower bound, per whole, in nats.

    Attributes:
        log_likelihood: :math:`\log p(x \mid z, \tilde w)` at the sampled latents, ``[S]``.
        kl_w: :math:`\mathrm{KL}(q(\{w_i\} \mid x, z, \{\ell_i\}) \| \prod_i p(w_i \mid \ell_i))`,
            closed form, ``[S]``.
        kl_z: :math:`\log q(z \mid x) - \log p(z \mid \tilde w)` at the sampled latents, ``[S]``.
        likelihood: The distribution :math:`p(x \mid z, \tilde w)` itself.
    """

    log_likelihood: Tensor
    kl_w: Tensor
    kl_z: Tensor
    likelihood: Distribution

    @property
    def elbo(self) -> Tensor:
        r"""The bound on :math:`\log p(x \mid \{\ell_i\})`, ``[S]``."""
        return self.log_likelihood - self.kl_w - self.kl_z
