"""CompVAE: the generative and the inference network, and the ELBO that trains them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Normal
from torch_geometric.nn.inits import reset
from typing_extensions import Unpack

from compvae_pyg.distributions.normal import normal_sample, standard_normal
from compvae_pyg.models import chunks
from compvae_pyg.models.composition import Composition
from compvae_pyg.models.encoder import Posterior
from compvae_pyg.models.generator import CompVAEGenerator
from compvae_pyg.models.hub import PretrainedMixin
from compvae_pyg.models.likelihood import importance_log_weights, log_mean_exp
from compvae_pyg.nn import AnyParts, Fields, PackedParts, checks
from compvae_pyg.nn.packed import PartOptions

__all__ = ["CompVAE", "Elbo"]


class Elbo(NamedTuple):
    r"""Terms of the evidence lower bound, per whole, in nats.

    Attributes:
        log_likelihood: :math:`\log p(x \mid z, \tilde w)` at the sampled latents, ``[S]``.
        kl_w: :math:`\mathrm{KL}(q(\{w_i\} \mid x, z, \{\ell_i\}) \| \prod_i p(w_i \mid \ell_i))`,
            closed form, ``[S]``.
        kl_z: :math:`\log q(z \mid x) - \log p(z \mid \tilde w)` at the sampled latents, ``[S]``.
        likelihood: The distribution :math:`p(x \mid z, \tilde w)` itself.
        posterior: What the latents were drawn from, where any were.

    Example:
        >>> one = torch.ones(1)
        >>> Elbo(-3.0 * one, 2.0 * one, one, Normal(one, one)).elbo
        tensor([-6.])
    """

    log_likelihood: Tensor
    kl_w: Tensor
    kl_z: Tensor
    likelihood: Distribution
    posterior: Posterior | None = None

    @property
    def elbo(self) -> Tensor:
        r"""The lower bound of :math:`\log p(x \mid \{\ell_i\})`, ``[S]``."""
        return self.log_likelihood - self.kl_w - self.kl_z


class CompVAE(PretrainedMixin, nn.Module):
    r"""Compositional variational autoencoder (Berger & Sebag, ECML PKDD 2019).

    .. math::
        \begin{aligned}
        \log p(x \mid \{\ell_i\}) \geq \mathbb{E}_q\Bigl[ &
            \log p(x \mid z, \tilde w) - \log \frac{q(z \mid x)}{p(z \mid \tilde w)} \\
            & - \mathrm{KL}\Bigl(q(\{w_i\} \mid x, z, \{\ell_i\}) \,\Big\|\,
            \prod_i p(w_i \mid \ell_i) \Bigr) \Bigr]
        \end{aligned}

    Methods take wholes ``whole``, ``[S, *event]``, and their parts in one of three forms:

    - ``parts``, a tensor or named tensors of N rows, ``batch``, the set of each part, ``[N]``,
      sorted (``None`` means one set), and ``batch_size``, the number :math:`S` of sets, needed when
      sets are empty;
    - a :class:`~compvae_pyg.nn.PackedParts`;
    - a PyG ``Data`` or ``Batch``, whose node-level attributes are the fields.

    Three options of theirs are common to all:

    - ``count``, ``[N]``: how many independent parts a row stands for, whose latents add up to that
      of the row, at the cost of one part; by default 1. It is positive, but in what is generated
      may be 0. The inference network depends on it only through the fields of the parts.
    - ``weight``, ``[N]``: the weights :math:`a` in :math:`\tilde w = \sum_i a_i w_i`, of any sign;
      by default 1. Likewise.
    - ``context``, ``[S, F]``, or named tensors of S rows: conditions of the wholes, known and
      shared by their parts. A network that takes a ``context`` reads it; at least one must.

    Random numbers come from ``generator``, by default the global source. Real fields and wholes are
    taken in any floating-point type.

    Args:
        encoder: The message-passing inference network.
        generator: The generative network.
        embedding: Module of ``(whole, fields, batch)``, and ``context`` if it takes one, that
            returns the encoder's features, of wholes ``[S, whole_channels]`` and of parts
            ``[N, part_channels]``;
            :class:`~compvae_pyg.models.SeparateEmbedding` makes it of two networks, as in the
            paper.
        event_shape: Shape of one whole.
        residual_posterior: Whether the posterior of ``w`` is parametrised relative to its prior
            (see :meth:`CompVAEEncoder.forward`); not in the paper.
        observation_noise: Whether what is generated is drawn from :math:`p(x \mid z, \tilde w)`, or
            else its mean, where a call does not say.

    Raises:
        TypeError, ValueError: By all methods, with its name, if an argument is of another type,
            does not fit the others or the model, or is not finite, or if a network returns what
            does not fit.

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

    @checks.check_arguments()
    def __init__(
        self,
        encoder: nn.Module,
        generator: CompVAEGenerator,
        embedding: nn.Module,
        event_shape: Sequence[int],
        residual_posterior: bool = False,
        observation_noise: bool = False,
    ) -> None:
        super().__init__()
        checks.check_counts(event_shape, "event_shape")
        self.encoder = encoder
        self.generator = generator
        self.embedding = embedding
        self.event_shape = tuple(event_shape)
        self.residual_posterior = residual_posterior
        self.observation_noise = observation_noise

    def reset_parameters(self) -> None:
        """Draw all learnable parameters anew."""
        for network in (self.encoder, self.generator, self.embedding):
            reset(network)

    # Evaluation of wholes: posterior, latents, bound

    def forward(self, *args: Any, **options: Any) -> Elbo:
        """Return :meth:`elbo`: what wrappers such as ``DistributedDataParallel`` call."""
        return self.elbo(*args, **options)

    def elbo(
        self,
        whole: Tensor,
        parts: AnyParts,
        batch: Tensor | None = None,
        batch_size: int | None = None,
        *,
        generator: torch.Generator | None = None,
        **options: Unpack[PartOptions],
    ) -> Elbo:
        r"""Evaluate the ELBO with one sample of :math:`z` and :math:`\tilde w`.

        The sum of the parts' latents is drawn from its own distribution, see
        :meth:`Posterior.w_sum <compvae_pyg.models.Posterior.w_sum>`. All wholes pass the networks
        at once; the methods below that work on many bound the memory.
        """
        whole, parts = self._enter(whole, parts, batch, batch_size, **options)
        w_prior = self.generator.prior_w(parts)
        q = self._posterior(self._features(whole, parts), parts, w_prior, generator=generator)
        w_sum = normal_sample(q.w_sum(parts.weight), generator)
        return self.bound(whole, q, w_sum, q.kl_w(w_prior), parts.context)

    def posterior(
        self,
        whole: Tensor,
        parts: AnyParts,
        batch: Tensor | None = None,
        batch_size: int | None = None,
        *,
        w_prior: Normal | None = None,
        z: Tensor | None = None,
        generator: torch.Generator | None = None,
        **options: Unpack[PartOptions],
    ) -> Posterior:
        r"""Return :math:`q(z \mid x)` and :math:`q(\{w_i\} \mid x, z, \{\ell_i\})`: the first step.

        Args:
            w_prior: :meth:`CompVAEGenerator.prior_w` of the parts, where it is known already.
            z: The latent of the wholes to condition on, ``[S, D_z]``; by default it is drawn.
        """
        whole, parts = self._enter(whole, parts, batch, batch_size, **options)
        w_prior = self.generator.prior_w(parts) if w_prior is None else w_prior
        features = self._features(whole, parts)
        return self._posterior(features, parts, w_prior, z=z, generator=generator)

    @checks.check_annotations
    def bound(
        self,
        whole: Tensor,
        posterior: Posterior,
        w_sum: Tensor,
        kl_w: Tensor,
        context: Fields | None = None,
    ) -> Elbo:
        r"""Return the terms of the ELBO at latents that were drawn: the last step.

        With :math:`\log q(\{w_i\}) - \sum_i \log p(w_i)` at a sample in place of the divergence,
        their ``elbo`` is the logarithm of an importance weight.

        Args:
            whole: Wholes, ``[S, *event]``.
            posterior: What :math:`z` was drawn from, and the draw.
            w_sum: The draw of :math:`\tilde w`, ``[S, D_w]``.
            kl_w: Divergence of the parts' latents, ``[S]``.
            context: Conditions of the wholes, ``S`` rows.
        """
        z = posterior.z_sample
        z_prior = self.generator.prior_z(w_sum, context)
        checks.check_shape(z_prior.loc, "z_prior's result", z.shape)
        # w_sum depends on the same draw of z, so that the closed form would be biased.
        kl_z = (posterior.z.log_prob(z) - z_prior.log_prob(z)).sum(dim=-1)
        likelihood = self.generator.likelihood(w_sum, z, context)
        checks.check_event(likelihood, self.event_shape)
        return Elbo(likelihood.log_prob(whole), kl_w, kl_z, likelihood, posterior)

    @torch.no_grad()
    def log_likelihood(
        self,
        whole: Tensor,
        parts: AnyParts,
        batch: Tensor | None = None,
        batch_size: int | None = None,
        *,
        num_samples: int = 64,
        chunk_size: int = 256,
        generator: torch.Generator | None = None,
        **options: Unpack[PartOptions],
    ) -> Tensor:
        r"""Estimate :math:`\log p(x \mid \{\ell_i\})` by importance sampling, ``[S]`` in nats.

        .. math::
            \log \frac1M \sum_{m=1}^M \frac{p(x, z^m, \{w_i^m\} \mid \{\ell_i\})}
                {q(z^m, \{w_i^m\} \mid x, \{\ell_i\})}

        A lower bound in expectation, which rises with the number of samples (Burda et al., 2016)
        to the log-likelihood itself; where the posterior is exact, every sample gives it. Whether
        the samples are enough can be seen by raising their number.

        Args:
            num_samples: Number :math:`M` of samples.
            chunk_size: Number of wholes, counted once for each of their samples, that pass the
                networks at once, fewer where they have more than 8 parts on average; bounds the
                memory, also of a whole of many parts. The result does not depend on it, but for
                rounding.

        Example:
            >>> model = CompVAE.from_pretrained("dots-small")
            >>> red = {"color": torch.tensor([0]), "pos": torch.zeros(1, 2)}
            >>> blue = {"color": torch.tensor([2]), "pos": torch.zeros(1, 2)}
            >>> image = model.generate(red)
            >>> bool(model.log_likelihood(image, red) > model.log_likelihood(image, blue))
            True
        """
        checks.check_count(num_samples, "num_samples")
        whole, parts = self._enter(whole, parts, batch, batch_size, **options)
        log_weights = importance_log_weights(
            self, whole, parts, num_samples, chunk_size, generator=generator
        )
        return log_mean_exp(log_weights)

    # Wholes from parts, and compositions

    @torch.no_grad()
    def generate(
        self,
        parts: AnyParts,
        batch: Tensor | None = None,
        batch_size: int | None = None,
        *,
        observation_noise: bool | None = None,
        chunk_size: int = 1024,
        generator: torch.Generator | None = None,
        **options: Unpack[PartOptions],
    ) -> Tensor:
        r"""Draw wholes made of the given parts, ``[S, *event]``.

        The latents are drawn from the prior; the whole is the mean of
        :math:`p(x \mid z, \tilde w)`, or a draw; the paper does not say what its figures show.

        Args:
            observation_noise: Whether it is a draw; by default as ``model.observation_noise`` says:
                a mean, but for networks of loads.
            chunk_size: Number of wholes that are decoded at once; bounds the memory. What is drawn
                does not depend on it.

        Example:
            >>> from compvae_pyg.problems import Sines
            >>> kinds = {"category": torch.tensor([0, 4])}
            >>> count = torch.tensor([1_000_000, 500])
            >>> Sines().build("small").generate(kinds, count=count).shape
            torch.Size([1, 200])
        """
        chunks.check_chunks(chunk_size, observation_noise)
        parts = self.generator.pack(parts, batch, batch_size, **options)
        w_sum = chunks.Sums(self.generator, parts, generator)
        return chunks.generate(self, w_sum, parts.context, chunk_size, observation_noise, generator)

    @torch.no_grad()
    def generate_counts(
        self,
        counts: Tensor,
        parts: PackedParts | Fields,
        *,
        weight: Tensor | None = None,
        context: Fields | None = None,
        observation_noise: bool | None = None,
        chunk_size: int = 1024,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        r"""Draw wholes with counts of the same kinds of parts, ``[S, *event]``.

        :meth:`generate` with ``count``, for a dense matrix of counts.

        Args:
            counts: How many parts of each kind a whole has, ``[S, C]``: integers or real numbers,
                not negative; see :meth:`CompVAEGenerator.counts_prior`.
            parts: Fields of the kinds, C rows each; their weights are ``[C]``.
            context: Conditions of the wholes, ``S`` rows.
            observation_noise: Whether wholes are draws, as in :meth:`generate`.
            chunk_size: Number of wholes that are decoded at once; bounds the memory. What is drawn
                does not depend on it.

        Example:
            >>> from compvae_pyg.problems import Sines
            >>> kinds = {"category": torch.tensor([0, 4])}
            >>> counts = torch.tensor([[3, 0], [1_000_000, 500]])
            >>> Sines().build("small").generate_counts(counts, kinds).shape
            torch.Size([2, 200])
        """
        chunks.check_chunks(chunk_size, observation_noise)
        parts = self.generator.pack(parts, weight=weight)
        w_sum, context = chunks.sums_of_counts(self.generator, counts, parts, context, generator)
        return chunks.generate(self, w_sum, context, chunk_size, observation_noise, generator)

    def compose(
        self,
        parts: AnyParts,
        batch: Tensor | None = None,
        batch_size: int | None = None,
        *,
        generator: torch.Generator | None = None,
        **options: Unpack[PartOptions],
    ) -> Composition:
        """Draw the latents of wholes made of the given parts from the prior, to work on them.

        With the same randomness, the mean of what it decodes to is what :meth:`generate` returns.
        Gradients flow to the parts and to the networks, unlike there: use :func:`torch.no_grad`
        where none are needed.

        Example:
            >>> from compvae_pyg.problems import Sines
            >>> model = Sines().build("small")
            >>> chord = model.compose({"category": torch.tensor([0, 4])})
            >>> chord.add({"category": torch.tensor([9])}).decode().mean.shape
            torch.Size([1, 200])
        """
        parts = self.generator.pack(parts, batch, batch_size, **options)
        w = chunks.draw_w(self.generator, parts, generator)
        z_prior = self.generator.prior_z(parts.weighted_sum(w), parts.context)
        return Composition(self.generator, parts, w, standard_normal(z_prior.mean, generator))

    @torch.no_grad()
    def infer(
        self,
        whole: Tensor,
        parts: AnyParts,
        batch: Tensor | None = None,
        batch_size: int | None = None,
        *,
        chunk_size: int = 1024,
        generator: torch.Generator | None = None,
        **options: Unpack[PartOptions],
    ) -> Composition:
        """Draw the latents of wholes and of their parts from the posterior, to work on them.

        Args:
            chunk_size: Number of wholes that pass the networks at once, fewer where they have more
                than 8 parts on average; bounds the memory. What is drawn does not depend on it.

        Example:
            >>> from compvae_pyg.problems import Dots
            >>> dots = Dots()
            >>> data = dots.sample(torch.tensor([2, 3]))
            >>> images = dots.build("small").infer(data.whole, dots.parts(data), data.batch)
            >>> images.remove(0).decode().mean.shape
            torch.Size([2, 3, 32, 32])
        """
        whole, parts = self._enter(whole, parts, batch, batch_size, **options)
        w, z = chunks.infer(self, whole, parts, chunk_size, generator)
        return Composition(self.generator, parts, w, z).with_latents(z=z)

    @torch.no_grad()
    def reconstruct(self, *args: Any, **options: Any) -> Tensor:
        """Infer the latents of wholes and return the mean whole that they decode to.

        Arguments and errors are those of :meth:`infer`; the result is ``[S, *event]``.
        """
        return self.infer(*args, **options).decode_mean(options.get("chunk_size", 1024))

    def _enter(
        self, whole: Tensor, parts: AnyParts, *sets: Any, **options: Any
    ) -> tuple[Tensor, PackedParts]:
        """Return wholes, in at least 32 bits, and their parts, checked."""
        parts = self.generator.pack(parts, *sets, **options)
        checks.check_wholes(whole, parts, self.event_shape)
        return whole.to(torch.promote_types(self.generator.dtype, torch.float32)), parts

    def _posterior(
        self, features: tuple[Tensor, Tensor], parts: PackedParts, w_prior: Normal, **noise: Any
    ) -> Posterior:
        """Return the posterior by features of wholes and parts."""
        given = w_prior if self.residual_posterior else None
        posterior = self.encoder(*features, parts, w_prior=given, **noise)
        # They would be broadcast.
        checks.check_shape(w_prior.loc, "w_prior's result", posterior.w.loc.shape)
        return posterior

    def _features(self, whole: Tensor, parts: PackedParts) -> tuple[Tensor, Tensor]:
        inputs: Any = {"fields": parts.fields, "batch": parts.batch}
        inputs = {"whole": whole.to(self.generator.dtype), **inputs}
        features = checks.call_network(self.embedding, "embedding", parts.context, **inputs)
        return checks.check_features_of(features, self.encoder, parts.batch_size, parts.num_parts)
