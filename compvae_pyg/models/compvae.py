"""CompVAE: the generative and the inference network, and what they are trained by."""

from collections.abc import Sequence
from typing import get_args

import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from compvae_pyg.models.attribution import Attribution
from compvae_pyg.models.chunks import split_sets
from compvae_pyg.models.composition import Composition
from compvae_pyg.models.elbo import Elbo, Inferred
from compvae_pyg.models.encoder import CompVAEEncoder, Posterior
from compvae_pyg.models.generator import (
    CompVAEGenerator,
    normal_sample,
    sample_law,
    standard_normal,
)
from compvae_pyg.models.likelihood import importance_estimate
from compvae_pyg.models.parts import Parts, check_parts
from compvae_pyg.models.shared_model import SharedModel
from compvae_pyg.models.weights import check_weight, weighted
from compvae_pyg.models.wholes import check_wholes
from compvae_pyg.nn import resolve_batch, set_sum
from compvae_pyg.nn.checks import check_count

__all__ = ["CompVAE"]


class CompVAE(SharedModel):
    r"""Compositional variational autoencoder (Berger & Sebag, ECML PKDD 2019).

    .. math::
        \begin{aligned}
        \log p(x \mid \{\ell_i\}) \geq \mathbb{E}_q\Bigl[ &
            \log p(x \mid z, \tilde w) - \log \frac{q(z \mid x)}{p(z \mid \tilde w)} \\
            & - \mathrm{KL}\Bigl(q(\{w_i\} \mid x, z, \{\ell_i\}) \,\Big\|\,
            \prod_i p(w_i \mid \ell_i) \Bigr) \Bigr]
        \end{aligned}

    Args:
        encoder: The message-passing inference network.
        generator: The generative network.
        embedding: Module of ``(whole, parts, batch)`` that returns the encoder's features, of
            wholes ``[S, whole_channels]`` and of parts ``[N, part_channels]``;
            :class:`~compvae_pyg.models.SeparateEmbedding` makes it of two networks, as in the
            paper.
        event_shape: Shape of one whole.
        residual_posterior: Whether the posterior of ``w`` is expressed in units of its prior
            (see :meth:`CompVAEEncoder.forward`); not in the paper.

    Example:
        >>> from compvae_pyg.problems import Dots
        >>> dots = Dots()
        >>> model = dots.build("small")
        >>> data = dots.sample(torch.tensor([2, 3]))
        >>> terms = model.elbo(data.whole, dots.parts(data), data.batch)
        >>> terms.kl_w.shape
        torch.Size([2])
        >>> model.generate(dots.parts(data), data.batch).shape
        torch.Size([2, 3, 32, 32])
    """

    def __init__(
        self,
        encoder: CompVAEEncoder,
        generator: CompVAEGenerator,
        embedding: nn.Module,
        event_shape: Sequence[int],
        residual_posterior: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.generator = generator
        self.embedding = embedding
        self.event_shape = tuple(event_shape)
        self.residual_posterior = residual_posterior

    def elbo(
        self,
        whole: Tensor,
        parts: Parts,
        batch: Tensor | None = None,
        batch_size: int | None = None,
        *,
        inferred: Inferred = "all",
        weight: Tensor | None = None,
    ) -> Elbo:
        r"""Evaluate the bound with one sample of :math:`z` and :math:`\tilde w`.

        The sum of the parts' latents is drawn from its own law, see
        :attr:`SumControlledNormal.sum_law <compvae_pyg.distributions.SumControlledNormal.sum_law>`.

        Args:
            whole: Wholes, ``[S, *event]``.
            parts: Parts, packed, N rows each.
            batch: Set of each part, ``[N]``, sorted; ``None`` means one set.
            batch_size: Number of sets :math:`S`; needed when sets are empty.
            inferred: Which latents come from the posterior. ``"all"`` is the bound. For training
                in stages, latents can be held at the mean of their prior instead, at no
                divergence: ``"parts"`` does so with ``z`` (the parts' posterior is then given
                standard normal noise for it), ``"none"`` with ``w`` and ``z``.
            weight: Weight :math:`a` of each part in :math:`\tilde w = \sum_i a_i w_i`, ``[N]``, of
                any sign; by default 1. The bound holds for any weights, but the inference network
                is told of them only if the parts' own features are.

        Raises:
            ValueError: If an input does not fit the others or the model, or is not finite.
        """
        if inferred not in get_args(Inferred):
            raise ValueError(f"inferred must be one of {get_args(Inferred)} (got {inferred!r})")
        batch, batch_size = self._check(whole, parts, batch, batch_size)
        weight = check_weight(weight, batch.shape[0], whole)
        w_prior = self.generator.w_prior(parts)
        zero = whole.new_zeros(batch_size)
        if inferred == "none":
            kl_w, posterior = zero, None
            w_sum = set_sum(weighted(w_prior.mean, weight), batch, batch_size)
        else:
            # While z is closed, the parts' posterior must not learn of the whole through it.
            noise = None
            if inferred == "parts":
                noise = whole.new_empty(batch_size, self.encoder.z_channels).normal_()
            posterior = self._posterior(whole, parts, batch, batch_size, w_prior, noise)
            kl_w = kl_divergence(posterior.w, w_prior).sum(dim=-1)
            # The bound reads the sum alone, whose law is known: one draw a whole, none a part.
            law = posterior.w.sum_law if weight is None else posterior.w.weighted_sum(weight)
            w_sum = law.rsample()
        z_prior = self.generator.z_prior(w_sum)
        if inferred == "all" and posterior is not None:
            z = posterior.z_sample
            # w_sum depends on the same draw of z, so that the closed form would be biased.
            kl_z = (posterior.z.log_prob(z) - z_prior.log_prob(z)).sum(dim=-1)
        else:
            z, kl_z = z_prior.mean, zero
        likelihood = self.generator.decoder(w_sum, z)
        return Elbo(likelihood.log_prob(whole), kl_w, kl_z, likelihood)

    @torch.no_grad()
    def log_likelihood(
        self,
        whole: Tensor,
        parts: Parts,
        batch: Tensor | None = None,
        batch_size: int | None = None,
        *,
        num_samples: int = 64,
        chunk_size: int = 256,
        weight: Tensor | None = None,
    ) -> Tensor:
        r"""Estimate :math:`\log p(x \mid \{\ell_i\})` by importance sampling, ``[S]`` in nats.

        .. math::
            \log \frac1M \sum_{m=1}^M \frac{p(x, z^m, \{w_i^m\} \mid \{\ell_i\})}
                {q(z^m, \{w_i^m\} \mid x, \{\ell_i\})}

        A lower bound in expectation, which rises with the number of samples (Burda et al., 2016)
        to the log-likelihood itself; where the posterior is exact, every sample gives it. Whether
        the samples are enough can be seen by raising their number.

        Args:
            whole: Wholes, ``[S, *event]``.
            parts: Parts, packed, N rows each.
            batch: Set of each part, ``[N]``, sorted; ``None`` means one set.
            batch_size: Number of sets :math:`S`; needed when sets are empty.
            num_samples: Number :math:`M` of samples.
            chunk_size: Number of wholes, counted once for each of their samples, that pass the
                networks at once; bounds the memory.
            weight: Weight of each part, ``[N]``, see :meth:`elbo`; by default 1.

        Raises:
            ValueError: If ``num_samples`` or ``chunk_size`` is not positive, or an input does not
                fit.

        Example:
            >>> model = CompVAE.from_pretrained("dots-small")
            >>> red = {"color": torch.tensor([0]), "pos": torch.zeros(1, 2)}
            >>> blue = {"color": torch.tensor([2]), "pos": torch.zeros(1, 2)}
            >>> image = model.generate(red)
            >>> bool(model.log_likelihood(image, red) > model.log_likelihood(image, blue))
            True
        """
        check_count(num_samples, "num_samples")
        batch, batch_size = self._check(whole, parts, batch, batch_size)
        weight = check_weight(weight, batch.shape[0], whole)
        estimates = [
            importance_estimate(
                self,
                whole[chunk.sets],
                chunk.parts,
                chunk.batch,
                None if weight is None else weight[chunk.rows],
                num_samples=num_samples,
                side_by_side=chunk_size // (chunk.sets.stop - chunk.sets.start),
            )
            for chunk in split_sets(parts, batch, batch_size, chunk_size)
        ]
        return torch.cat(estimates)

    @torch.no_grad()
    def generate(
        self,
        parts: Parts,
        batch: Tensor | None = None,
        batch_size: int | None = None,
        *,
        weight: Tensor | None = None,
        observation_noise: bool = False,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        r"""Draw wholes made of the given parts, ``[S, *event]``.

        The latents are drawn from the prior; the whole is the mean of
        :math:`p(x \mid z, \tilde w)`; the paper does not say what its figures show.

        Args:
            parts: Parts, packed, N rows each.
            batch: Set of each part, ``[N]``, sorted; ``None`` means one set.
            batch_size: Number of sets :math:`S`; needed when sets are empty.
            weight: Weight :math:`a` of each part in :math:`\tilde w = \sum_i a_i w_i`, ``[N]``, of
                any sign; by default 1. A part of weight 0 is absent.
            observation_noise: Whether to draw from :math:`p(x \mid z, \tilde w)` instead.
            generator: Source of the randomness; by default the global one.

        Raises:
            ValueError: If ``batch`` or ``weight`` does not fit the parts.
        """
        law = self.generator(parts, batch, batch_size, weight=weight, generator=generator)
        return sample_law(law, generator) if observation_noise else law.mean

    @torch.no_grad()
    def generate_amounts(
        self,
        amounts: Tensor,
        parts: Parts,
        *,
        weight: Tensor | None = None,
        observation_noise: bool = False,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        r"""Draw wholes from how many parts of each kind they have, ``[S, *event]``.

        They have the law of :meth:`generate` with each part written out. The aggregate of many
        parts is Gaussian with their summed means and variances, so that a million parts of a kind
        take the operations of one.

        Args:
            amounts: How many parts of each kind a whole has, ``[S, C]``: integers or real numbers,
                not negative; see :meth:`CompVAEGenerator.amounts_prior`.
            parts: Descriptions of the kinds, C rows each.
            weight: Weight :math:`a` of every part of a kind, ``[C]``, of any sign; by default 1.
            observation_noise: Whether to draw from :math:`p(x \mid z, \tilde w)` instead of taking
                its mean.
            generator: Source of the randomness; by default the global one.

        Raises:
            TypeError: If ``amounts`` is not a tensor of numbers.
            ValueError: If ``amounts`` is not ``[S, C]``, negative or not finite, or ``weight`` does
                not fit the parts.

        Example:
            >>> from compvae_pyg.problems import Sines
            >>> kinds = {"category": torch.tensor([0, 4])}
            >>> amounts = torch.tensor([[3, 0], [1_000_000, 500]])
            >>> Sines().build("small").generate_amounts(amounts, kinds).shape
            torch.Size([2, 200])
        """
        prior = self.generator.amounts_prior(amounts, parts, weight=weight)
        law = self.generator.decode(normal_sample(prior, generator), generator)
        return sample_law(law, generator) if observation_noise else law.mean

    def compose(
        self,
        parts: Parts,
        batch: Tensor | None = None,
        batch_size: int | None = None,
        *,
        weight: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Composition:
        """Draw the latents of wholes made of the given parts from the prior, to work on them.

        With the same randomness, the mean of what it decodes to is what :meth:`generate` returns.
        Gradients flow to the parts and to the networks, unlike there: use :func:`torch.no_grad`
        where none are needed.

        Args:
            parts: Parts, packed, N rows each.
            batch: Set of each part, ``[N]``, sorted; ``None`` means one set.
            batch_size: Number of sets :math:`S`; needed when sets are empty.
            weight: Weight of each part in the sum, ``[N]``, of any sign; by default 1.
            generator: Source of the randomness; by default the global one.

        Raises:
            ValueError: If ``batch`` or ``weight`` does not fit the parts.

        Example:
            >>> from compvae_pyg.problems import Sines
            >>> model = Sines().build("small")
            >>> chord = model.compose({"category": torch.tensor([0, 4])})
            >>> chord.add({"category": torch.tensor([9])}).decode().mean.shape
            torch.Size([1, 200])
        """
        num_parts, device = check_parts(parts)
        batch, batch_size = resolve_batch(num_parts, batch, batch_size, device)
        w_prior = self.generator.w_prior(parts)
        weight = check_weight(weight, num_parts, w_prior.mean)
        w = normal_sample(w_prior, generator)
        z_prior = self.generator.z_prior(set_sum(weighted(w, weight), batch, batch_size))
        z_noise = standard_normal(z_prior.mean, generator)
        return Composition(self.generator, parts, batch, batch_size, w, z_noise, weight)

    @torch.no_grad()
    def infer(
        self,
        whole: Tensor,
        parts: Parts,
        batch: Tensor | None = None,
        batch_size: int | None = None,
        *,
        weight: Tensor | None = None,
    ) -> Composition:
        """Draw the latents of wholes and of their parts from the posterior.

        Args:
            whole: Wholes, ``[S, *event]``.
            parts: Parts, packed, N rows each.
            batch: Set of each part, ``[N]``, sorted; ``None`` means one set.
            batch_size: Number of sets :math:`S`; needed when sets are empty.
            weight: Weight of each part in the sum, ``[N]``, as in :meth:`elbo`.

        Raises:
            ValueError: If an input does not fit the others or the model, or is not finite.
        """
        batch, batch_size = self._check(whole, parts, batch, batch_size)
        weight = check_weight(weight, batch.shape[0], whole)
        posterior = self._posterior(whole, parts, batch, batch_size, self.generator.w_prior(parts))
        z = posterior.z_sample
        composition = Composition(
            self.generator, parts, batch, batch_size, posterior.w.rsample(), z, weight
        )
        return composition.with_latents(z=z)

    def reconstruct(
        self,
        whole: Tensor,
        parts: Parts,
        batch: Tensor | None = None,
        batch_size: int | None = None,
        *,
        weight: Tensor | None = None,
    ) -> Tensor:
        """Infer the latents of wholes and return the mean whole that they decode to.

        Arguments and errors are those of :meth:`infer`; the result is ``[S, *event]``.
        """
        with torch.no_grad():
            return self.infer(whole, parts, batch, batch_size, weight=weight).decode().mean

    @torch.no_grad()
    def attribute(
        self,
        whole: Tensor,
        parts: Parts,
        batch: Tensor | None = None,
        batch_size: int | None = None,
    ) -> Attribution:
        r"""Tell how much of the information about a whole each of its parts carries.

        At one draw of :math:`z`, as :meth:`elbo`, whose ``kl_w`` it takes apart.

        Arguments and errors are those of :meth:`infer`.

        Example:
            >>> from compvae_pyg.problems import Dots
            >>> dots = Dots()
            >>> data = dots.sample(torch.tensor([2, 3]))
            >>> shares = dots.build("small").attribute(data.whole, dots.parts(data), data.batch)
            >>> shares.parts.shape, shares.common.shape
            (torch.Size([5]), torch.Size([2]))
        """
        batch, batch_size = self._check(whole, parts, batch, batch_size)
        w_prior = self.generator.w_prior(parts)
        posterior = self._posterior(whole, parts, batch, batch_size, w_prior)
        alone = kl_divergence(posterior.w.marginals, w_prior).sum(dim=-1)
        return Attribution(alone, posterior.w.total_correlation().sum(dim=-1), batch)

    def _posterior(
        self,
        whole: Tensor,
        parts: Parts,
        batch: Tensor,
        batch_size: int,
        w_prior: Normal,
        z: Tensor | None = None,
    ) -> Posterior:
        whole_features, part_features = self.embedding(whole, parts, batch)
        return self.encoder(
            whole_features,
            part_features,
            batch,
            batch_size,
            w_prior=w_prior if self.residual_posterior else None,
            z=z,
        )

    def _check(
        self, whole: Tensor, parts: Parts, batch: Tensor | None, batch_size: int | None
    ) -> tuple[Tensor, int]:
        dtype = whole.dtype if isinstance(whole, Tensor) else torch.get_default_dtype()
        for weights in self.parameters():
            dtype = weights.dtype
            break
        return check_wholes(
            whole,
            parts,
            batch,
            batch_size,
            event_shape=self.event_shape,
            dtype=dtype,
        )
