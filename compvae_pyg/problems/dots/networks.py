r"""Networks of the dots problem, of a size for a laptop's CPU.

The latent of a site has three parts, on grids that cover the image:

- its *mass*, on 16 x 16 points, in the channel of its colour: the prior computes its logarithm from
  the *offset* between point and site. The sum over the sites is read on a log scale again, where
  the largest mass counts;
- its *presence*, one in the cell of a grid of 8 x 8 where the site is, in the same channel;
- its *noise*, one number, in the same channel and cell. It is all that is inferred: the others are
  known from the label, and their posterior is the prior.

The decoder spreads the noise over the grid, from the sites of each channel to where these are
nearest, by a learned kernel of the offset, and adds it to the logarithm of their mass, times a
learned function of that. What follows is a network of each channel's share of all mass, pixel by
pixel. The inference network looks at the image, and at how it differs from what is expected, around
each site.

None of this is in the paper.
"""

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn.inits import reset

from compvae_pyg.distributions.normal import StandardNormal, soft_minimum
from compvae_pyg.models import CompVAE, CompVAEEncoder
from compvae_pyg.networks.building_blocks import (
    activated,
    gaussian_compvae,
    whole_posterior,
)
from compvae_pyg.nn import Fields, ZeroLinear
from compvae_pyg.nn.checks import check_options, check_places
from compvae_pyg.nn.rows import at_least_float32, gather

__all__ = ["IMAGE_SIZE", "NUM_COLORS", "build_dots_small"]

NUM_COLORS = 5
IMAGE_SIZE = 32
_GRID, _FINE = 8, 16  # cells along each side, and points of the mass
_CELLS, _POINTS = _GRID**2, _FINE**2
_LARGEST = 8.0  # logarithm of a mass, so that 16 bits hold it
_RANGE = 9.0  # of the logarithm of the kernel
_STEPS = 8  # of the guess at the noise of sites
_FARTHEST = 4.0  # guess, in standard deviations of the prior
_LONGEST_STEP = 1.5  # change of a guess
_LEAST_CURVATURE = 1e-3  # along a step that is not left out
_POWERS = 2  # of the shares, that the network of pixels sees
_TINY = 1e-18  # a mass that is none
_SHARP = 1e-3  # standard deviation of mass and presence, relative to them
_LEAST = 3e-7  # standard deviation of a presence that is none
_AT_A_TIME = 4096  # sites, which bounds the memory
_WIDEST = 2.0  # log-variance of the posterior of a noise, relative to the prior
_ABSENT = -48.0  # what the logarithm of the mass of a channel without sites is less
_FASTER = 4.0  # rate of the network of pixels, over that of all others
_UNCOUPLED = -20.0  # coupling logit of what is not inferred


def places(size: int) -> Tensor:
    """Return the centres of the cells of a grid, ``[size^2, 2]``, by row; pixels span [-1, 1]^2."""
    line = torch.linspace(-1.0, 1.0, IMAGE_SIZE).view(size, -1).mean(dim=1)
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x, y], dim=-1).view(-1, 2)


def _blocks(num_sites: int) -> list[slice]:
    """Return which sites to look at together: some at a time, where no gradients flow."""
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return [slice(None)]
    starts = range(0, max(1, num_sites), _AT_A_TIME)
    return [slice(start, start + _AT_A_TIME) for start in starts]


def cell_of(pos: Tensor, cells: Tensor) -> Tensor:
    """Return which cell positions ``[N, 2]`` are in, as ones among zeros, ``[N, cells]``."""
    side = round(cells.shape[0] ** 0.5)
    column, row = ((pos - cells[0]) / (cells[1, 0] - cells[0, 0])).round().long().unbind(dim=1)
    index = row.clamp(0, side - 1) * side + column.clamp(0, side - 1)
    return F.one_hot(index, cells.shape[0]).to(pos.dtype)


def powers(offset: Tensor) -> Tensor:
    """Return offsets and their squares, ``[*, 4]``."""
    return torch.cat([offset, offset.square()], dim=-1)


class SiteField(nn.Module):
    r"""Mean and log-variance of a site's mass, presence and noise.

    With :math:`A_c = 1` for the colour of the site, :math:`b_v = 1` for its cell, and 0 in all
    others,

    .. math::
        m_{cu} = A_c\, e^{g(u - \mathrm{pos})}, \qquad p_{cv} = A_c b_v, \qquad
        n_{cv} \sim \mathcal{N}(0, \tau^2 p_{cv})

    where :math:`g` is a network of an offset and :math:`\tau` is learned.
    """

    cells: Tensor

    def __init__(self, hidden_channels: int = 32) -> None:
        super().__init__()
        self.register_buffer("cells", places(_GRID), persistent=False)
        per_cell = _POINTS // _CELLS
        self.net = nn.Sequential(
            *activated(
                nn.Linear(4, hidden_channels),
                nn.Linear(hidden_channels, hidden_channels),
            ),
            nn.Linear(hidden_channels, per_cell),
        )
        self.log_noise = nn.Parameter(torch.zeros(1))

    def reset_parameters(self) -> None:
        """Draw all learnable parameters anew."""
        reset(self.net)
        nn.init.zeros_(self.log_noise)

    def forward(self, parts: Fields) -> Tensor:
        """Return means and log-variances, ``[N, 2 D_w]``, of sites ``[N]``."""
        color, pos = check_places(parts, NUM_COLORS, "color")
        offset = self.cells - pos.unsqueeze(1)
        code = at_least_float32(F.one_hot(color, NUM_COLORS).to(pos.dtype)).unsqueeze(-1)
        log_mass = 10.0 * at_least_float32(self.net(powers(offset))).flatten(1).unsqueeze(1)
        log_mass = soft_minimum(log_mass, _LARGEST) + torch.log(code + _TINY)
        presence = code * cell_of(at_least_float32(pos), at_least_float32(self.cells)).unsqueeze(1)
        mean = [log_mass.exp(), presence, torch.zeros_like(presence)]
        log_variance = [
            2.0 * (log_mass + math.log(_SHARP)),
            2.0 * torch.log(_SHARP * presence + _LEAST),
            2.0 * (torch.log(presence + _LEAST) + at_least_float32(self.log_noise)),
        ]
        return torch.cat([value.flatten(1) for value in (*mean, *log_variance)], dim=1)


class NoiseHead(nn.Module):
    """Residual posterior of a site's noise, at first of low variance; all else is the prior.

    The features of sites end in a guess at the noise, the position, and ones and zeros of the
    colour. The scale of the prior is no feature: the networks would learn it for its use to them,
    and not for the divergence.
    """

    cells: Tensor

    def __init__(self, w_prior: SiteField, hidden_channels: int) -> None:
        super().__init__()
        self._w_prior = (w_prior,)  # in a tuple, it is not this module's own
        self.known = NUM_COLORS * (_POINTS + _CELLS)  # numbers that are not inferred
        self.register_buffer("cells", places(_GRID), persistent=False)
        self.lin = nn.Linear(hidden_channels, 3)
        self._init_variance()

    def reset_parameters(self) -> None:
        """Draw all learnable parameters anew."""
        self.lin.reset_parameters()
        self._init_variance()

    @torch.no_grad()
    def _init_variance(self) -> None:
        self.lin.weight.mul_(0.3)
        self.lin.bias.copy_(torch.tensor([0.0, 2.0 * math.log(0.3), -3.0]))

    def forward(self, h: Tensor, parts: Tensor) -> Tensor:
        """Return means, log-variances and coupling logits, ``[N, 3 D_w]``."""
        sizes, log_noise = (1, 2, NUM_COLORS), self._w_prior[0].log_noise
        guess, pos, code = parts[:, -sum(sizes) :].split(sizes, dim=1)
        share = (code.unsqueeze(2) * cell_of(pos, self.cells).unsqueeze(1)).flatten(1)
        correction, log_variance, logits = self.lin(h).split(1, dim=1)
        shift = (guess + correction) * torch.exp(-log_noise) * share
        log_variance = soft_minimum(log_variance - 2.0 * log_noise, _WIDEST) * share
        known = share.new_zeros(len(h), self.known)
        coupling = _UNCOUPLED + share * (logits - _UNCOUPLED)
        out = [known, shift, known, log_variance, known + _UNCOUPLED, coupling]
        return torch.cat(out, dim=1)


class FastLinear(nn.Linear):
    """Linear layer of weights 4 times its parameters: an optimiser moves them 4 times as far."""

    def reset_parameters(self) -> None:
        """Draw all learnable parameters anew."""
        nn.init.kaiming_normal_(self.weight)
        with torch.no_grad():
            self.weight.div_(_FASTER)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features ``[*, C_out]`` of ``[*, C_in]``."""
        return F.linear(x, _FASTER * self.weight, _FASTER * self.bias)


class FieldDecoder(nn.Module):
    r"""Image from the sums of mass :math:`m`, presence :math:`p` and noise :math:`n`.

    .. math::
        L_{cu} = l_{cu} + r(l_{cu})\,
            \frac{\sum_v k_{u-v}\, n_{cv}}{\sum_v k_{u-v}\, p_{cv}}, \qquad
            l_{cu} = \log |m_{cu}|

    with networks :math:`k > 0` of an offset and :math:`r` of a number. An MLP makes the pixels of
    the shares :math:`e^{L_c} / \sum_{c'} e^{L_{c'}}` of the channels, :math:`L` interpolated, at
    two learned powers.
    """

    offset: Tensor
    index: Tensor
    interpolation: Tensor

    def __init__(self, z_channels: int, hidden_channels: int = 32) -> None:
        super().__init__()
        self.z_channels = z_channels
        device = torch.get_default_device()
        with torch.device("cpu"):  # networks are also built on the meta device, without numbers
            offset = places(_GRID) - _by_cell(places(_FINE).unsqueeze(0)).view(-1, 1, 2)
            steps = (offset.view(-1, 2) * (IMAGE_SIZE - 1)).round()
            steps, index = torch.unique(steps, dim=0, return_inverse=True)
        self.register_buffer("offset", (steps / (IMAGE_SIZE - 1)).to(device), persistent=False)
        self.register_buffer("index", index.to(device), persistent=False)
        self.register_buffer("interpolation", _interpolation(), persistent=False)
        self.kernel = nn.Sequential(
            *activated(nn.Linear(4, 32), nn.Linear(32, 32)), nn.Linear(32, 1)
        )
        self.effect = nn.Sequential(*activated(nn.Linear(1, 16)), nn.Linear(16, 1))
        self.log_power = nn.Parameter(torch.empty(_POWERS))
        self.lin1 = FastLinear(_POWERS * NUM_COLORS, hidden_channels)
        self.z_lin = ZeroLinear(z_channels, hidden_channels)
        self.lin2 = FastLinear(hidden_channels, hidden_channels)
        self.lin3 = FastLinear(hidden_channels, hidden_channels)
        self.lin4 = FastLinear(hidden_channels, 4)
        self._init_gains()

    def reset_parameters(self) -> None:
        """Draw all learnable parameters anew."""
        for layer in self.children():
            reset(layer)
        self._init_gains()

    @torch.no_grad()
    def _init_gains(self) -> None:
        cast(nn.Linear, self.effect[-1]).bias.fill_(0.5)
        self.log_power.copy_(torch.linspace(-0.5, -1.5, _POWERS))
        self.lin4.weight[3:].mul_(0.1)
        self.lin4.bias[3:].fill_(-0.6 / _FASTER)  # a standard deviation of 0.3

    def forward(self, w_sum: Tensor, z: Tensor) -> Tensor:
        """Return three means and a log-variance for each pixel, ``[S, 4, 32, 32]``."""
        return self._seen(self._interpolated(self._field(w_sum)), z, w_sum.dtype)

    def at_points(self, w_sum: Tensor, z: Tensor) -> Tensor:
        """Return the same at each point alone, in their order, ``[S, 4, P]``."""
        field = self._field(w_sum).unsqueeze(2)
        return self._seen(field, z, w_sum.dtype).squeeze(2)

    def _field(self, w_sum: Tensor) -> Tensor:
        """Return :math:`L`, ``[S, C, P]``."""
        sizes = [NUM_COLORS * size for size in (_POINTS, _CELLS, _CELLS)]
        # Borders are where the largest of the sums are alike: a matter of their last digits.
        with torch.autocast(w_sum.device.type, enabled=False):
            mass, presence, noise = at_least_float32(w_sum).split(sizes, dim=1)
            presence, noise = (v.unflatten(1, (NUM_COLORS, _CELLS)) for v in (presence, noise))
            log_mass = torch.log(mass.abs() + _TINY).unflatten(1, (NUM_COLORS, _POINTS))
            effect = self.effect(0.1 * log_mass.unsqueeze(-1).to(w_sum.dtype)).squeeze(-1)
            log_mass = log_mass + effect * self._spread(presence, noise)
            # Far from all sites of a colour, their mass is as little as that of none.
            sites = presence.sum(dim=2, keepdim=True).clamp(min=0.0, max=1.0)
            return log_mass + _ABSENT * (1.0 - sites)

    def _seen(self, field: Tensor, z: Tensor, dtype: torch.dtype) -> Tensor:
        """Return what is seen where the field is :math:`L`, ``[S, C, H, W]``."""
        # A site alone has all the mass, whatever its noise: it is flat.
        log_share, power = torch.log_softmax(field, dim=1), self.log_power.exp()
        shares = torch.cat([torch.exp(each * log_share) for each in power], dim=1)
        shares = shares.to(dtype).permute(0, 2, 3, 1)
        h = F.silu(self.lin1(shares) + self.z_lin(z)[:, None, None])
        h = F.silu(self.lin3(F.silu(self.lin2(h))))
        out = self.lin4(h).permute(0, 3, 1, 2)
        return torch.cat([torch.sigmoid(out[:, :3]), 4.0 * out[:, 3:]], dim=1)

    def _spread(self, presence: Tensor, noise: Tensor) -> Tensor:
        """Return the noise of the nearest sites of each channel at each point, ``[S, C, P]``."""
        learned = at_least_float32(self.kernel(powers(self.offset))).squeeze(1)
        # Bounded, so that all points are reached; at first it falls with the distance.
        falls = torch.sigmoid(learned + 3.0 * self.offset.square().sum(dim=1) - 2.0)
        # Few offsets are different.
        kernel = torch.exp(-_RANGE * falls)[self.index].view(_POINTS, _CELLS).T
        return noise @ kernel / ((presence @ kernel).abs() + 1e-5)

    def _interpolated(self, field: Tensor) -> Tensor:
        """Return the values at pixels, ``[S, C, 32, 32]``, of those at points, ``[S, C, P]``."""
        side, weight = _FINE // _GRID, at_least_float32(self.interpolation)
        field = field.view(-1, NUM_COLORS, _GRID, _GRID, side, side)
        field = field.transpose(3, 4).reshape(-1, NUM_COLORS, _FINE, _FINE)
        with torch.autocast(field.device.type, enabled=False):
            return weight @ field @ weight.T


def _by_cell(points: Tensor) -> Tensor:
    """Return points ``[*, 16^2, 2]`` in the order of the mass: those of a cell are together."""
    side = _FINE // _GRID
    shape = -1, _GRID, side, _GRID, side, points.shape[-1]
    return points.reshape(shape).transpose(2, 3).reshape(-1, _POINTS, points.shape[-1])


def _interpolation() -> Tensor:
    """Return the matrix of linear interpolation, and extrapolation, from points to pixels."""
    step = IMAGE_SIZE // _FINE
    out = torch.zeros(IMAGE_SIZE, _FINE)
    for pixel in range(IMAGE_SIZE):
        place = (pixel - 0.5 * (step - 1)) / step
        low = min(max(math.floor(place), 0), _FINE - 2)
        out[pixel, low], out[pixel, low + 1] = 1.0 + low - place, place - low
    return out


def lbfgs_step(
    slope: Tensor, steps: list[Tensor], changes: list[Tensor], batch: Tensor, batch_size: int
) -> Tensor:
    r"""Return the next step of the limited-memory method of Broyden, Fletcher, Goldfarb and Shanno.

    With the steps :math:`s_k` so far and the changes :math:`y_k` of the slope over them,

    .. math:: s = -H g, \qquad H y_k = s_k \text{ for the last } k,

    by the recursion of Nocedal (1980), apart for each whole: all products sum over its parts. What
    does not curve upwards is left out, and each number changes by 1.5 at most. A whole of which
    nothing is known steps by :math:`-g / (2 + |g|)`, number by number.

    Args:
        slope: Slope :math:`g` of the error in the number of each part, ``[N]``.
        steps: Steps so far, ``[N]`` each, the last one at the end.
        changes: Changes of the slope over them.
        batch: Whole of each part, ``[N]``.
        batch_size: Number of wholes.

    Returns:
        The step, ``[N]``.

    Example:
        >>> slope, one = torch.tensor([4.0, -1.0]), torch.zeros(2, dtype=torch.long)
        >>> first = lbfgs_step(slope, [], [], one, 1)
        >>> first
        tensor([-0.6667,  0.3333])
        >>> lbfgs_step(slope + 2.0 * first, [first], [2.0 * first], one, 1)  # to the minimum
        tensor([-1.3333,  0.1667])
    """

    def inner(a: Tensor, b: Tensor) -> Tensor:
        return slope.new_zeros(batch_size).index_add_(0, batch, a * b)[batch]

    direction, known, scale = slope, torch.zeros_like(slope), torch.ones_like(slope)
    pairs = []
    for step, change in zip(reversed(steps), reversed(changes), strict=True):
        product = inner(step, change)
        curved = product > _LEAST_CURVATURE * inner(step, step)
        inverse = torch.where(curved, 1.0 / torch.where(curved, product, 1.0), 0.0)
        along = inverse * inner(step, direction)
        direction = direction - along * change
        newest = curved & (known == 0)
        size = product * torch.where(newest, 1.0 / inner(change, change), 1.0)
        scale, known = torch.where(newest, size, scale), torch.where(curved, 1.0, known)
        pairs.append((step, change, inverse, along))
    direction = scale * direction
    for step, change, inverse, along in reversed(pairs):
        direction = direction + step * (along - inverse * inner(change, direction))
    small = -slope / (2.0 + slope.abs())
    return torch.where(known > 0, (-direction).clamp(-_LONGEST_STEP, _LONGEST_STEP), small)


class DifferenceEmbedding(nn.Module):
    r"""Features of images, and of what they show around each site.

    Both see what is left to explain: the difference to the image that the generative networks make
    of a guess at the noise. It is found from the prior's mean by a few steps of :func:`lbfgs_step`
    down the squared error, on the points of the grid. The first and the last slope are features of
    the sites, as in iterative amortized inference (Marino et al., 2018). No gradients of the loss
    flow through the guess.
    """

    cells: Tensor

    def __init__(
        self,
        w_prior: SiteField,
        decoder: FieldDecoder,
        whole_channels: int,
        part_channels: int,
        hidden_channels: int = 48,
    ) -> None:
        super().__init__()
        # In a tuple, they are not this module's own.
        self._generative = (w_prior, decoder)
        self.register_buffer("cells", places(_GRID), persistent=False)
        self.conv = nn.Sequential(
            *activated(
                nn.Conv2d(6, 32, 4, stride=2, padding=1),
                nn.Conv2d(32, 48, 4, stride=2, padding=1),
            )
        )
        self.whole = nn.Sequential(nn.Flatten(), *activated(nn.Linear(48 * _CELLS, whole_channels)))
        self.look = nn.Linear(48, hidden_channels)
        self.where = nn.Linear(4, hidden_channels)
        self.gate = nn.Embedding(NUM_COLORS, 2 * hidden_channels)
        self.color = nn.Embedding(NUM_COLORS, 32)
        given = 3 + NUM_COLORS
        self.part = nn.Linear(32 + 4 + 5 + 2 * hidden_channels, part_channels - given)

    def forward(self, whole: Tensor, parts: Fields, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return features of images, ``[S, C_x]``, and of sites, ``[N, C_l]``."""
        color, pos = check_places(parts, NUM_COLORS, "color")
        guess, slopes, image = self._guess(whole, {"color": color, "pos": pos}, batch)
        code = F.one_hot(color, NUM_COLORS).to(guess.dtype)
        seen = torch.cat([2.0 * whole - 1.0, 4.0 * (whole - image)], dim=1)
        features = self.conv(seen.contiguous(memory_format=torch.channels_last))
        look = self.look(features.flatten(2).transpose(1, 2))

        def of_sites(rows: slice) -> Tensor:
            offset = self.cells - pos[rows].unsqueeze(1)
            shift, factor = self.gate(color[rows]).unsqueeze(1).chunk(2, dim=-1)
            h = gather(look, batch[rows]) * factor + self.where(powers(offset)) + shift
            near, h = torch.exp(-4.0 * offset.square().sum(dim=-1, keepdim=True)), F.relu(h)
            around = [h.mean(dim=1), 4.0 * (h * near).mean(dim=1)]
            known = self.color(color[rows]), powers(pos[rows]), guess[rows], slopes[rows]
            return cast(Tensor, self.part(torch.cat([*known, *around], dim=1)))

        pieces = [of_sites(rows) for rows in _blocks(len(pos))]
        site = torch.cat(pieces) if len(pieces) > 1 else pieces[0]
        return self.whole(features), torch.cat([site, guess, pos, code], dim=1)

    @torch.compiler.disable  # of what it differentiates, no graph is made
    def _guess(
        self, whole: Tensor, sites: dict[str, Tensor], batch: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return a guess at each site's noise, slopes, ``[N, 1]`` and ``[N, 4]``, and its image."""
        w_prior, decoder = self._generative
        # What was made in inference mode cannot be differentiated; its copies can.
        with torch.inference_mode(False), torch.no_grad():
            sites = {name: value.clone() for name, value in sites.items()}
            whole, batch = whole.clone(), batch.clone()
            blocks, num_noise, w_sum = _blocks(len(batch)), NUM_COLORS * _CELLS, torch.zeros(())
            for rows in blocks:
                some = {name: value[rows] for name, value in sites.items()}
                loc, _ = w_prior(some).to(whole.dtype).chunk(2, dim=1)
                none = whole.new_zeros(len(whole), loc.shape[1])
                w_sum = w_sum + none.index_add_(0, batch[rows], loc)
            cell = cell_of(sites["pos"], self.cells)
            z = whole.new_zeros(len(whole), decoder.z_channels)
            seen = F.avg_pool2d(at_least_float32(whole), IMAGE_SIZE // _FINE)
            seen = _by_cell(seen.permute(0, 2, 3, 1)).transpose(1, 2)

            def shares(rows: slice) -> Tensor:
                code = F.one_hot(sites["color"][rows], NUM_COLORS)
                return (code.unsqueeze(2) * cell[rows].unsqueeze(1)).flatten(1)

            def with_noise(guess: Tensor) -> Tensor:
                noise = whole.new_zeros(len(whole), num_noise)
                for rows in blocks:
                    noise.index_add_(0, batch[rows], (shares(rows) * guess[rows]).to(whole.dtype))
                return w_sum + F.pad(noise, (w_sum.shape[1] - num_noise, 0))

            def slope_at(guess: Tensor) -> Tensor:
                total = with_noise(guess)
                with torch.enable_grad():
                    image = decoder.at_points(total.requires_grad_(), z)[:, :3]
                    error = (seen - at_least_float32(image)).square().sum()
                    down = torch.autograd.grad(error, total)[0][:, -num_noise:].to(guess.dtype)
                of_sites = [(shares(rows) * down[batch[rows]]).sum(1, True) for rows in blocks]
                return (IMAGE_SIZE / _FINE) ** 2 * torch.cat(of_sites)

            guess = at_least_float32(cell).new_zeros(len(batch), 1)
            farthest = _FARTHEST * w_prior.log_noise.exp().to(guess.dtype)
            first = slope = slope_at(guess)
            steps: list[Tensor] = []
            changes: list[Tensor] = []
            for _ in range(_STEPS):
                known = slope.squeeze(1), steps, changes
                step = lbfgs_step(*known, batch, len(whole)).unsqueeze(1)
                last, guess = guess, (guess + step).clamp(-farthest, farthest)
                before, slope = slope, slope_at(guess)
                steps.append((guess - last).squeeze(1))
                changes.append((slope - before).squeeze(1))
            image = decoder(with_noise(guess), z)[:, :3]
        slopes = [f for g in (first, slope) for f in (g / (1.0 + g.abs()), g.abs().log1p())]
        found = guess, torch.cat(slopes, dim=1), image
        return cast(tuple[Tensor, Tensor, Tensor], tuple(each.to(whole.dtype) for each in found))


@check_options
def build_dots_small(
    hidden_channels: int = 96,
    part_channels: int = 64,
    whole_channels: int = 32,
    z_channels: int = 4,
    num_blocks: int = 2,
    min_pixel_scale: float = 0.02,
    aggr: str = "sum",
) -> CompVAE:
    """Build the networks that a laptop trains within minutes.

    Args:
        hidden_channels: As all others, see :class:`~compvae_pyg.models.CompVAEEncoder`.
        min_pixel_scale: Smallest standard deviation of a pixel; 0.005 in the paper, where images of
            one colour, which can be learned to that precision, outweigh all others.
    """
    w_prior, decoder = SiteField(), FieldDecoder(z_channels)
    w_channels = NUM_COLORS * (_POINTS + 2 * _CELLS)
    model = gaussian_compvae(
        encoder=CompVAEEncoder(
            whole_channels,
            part_channels,
            hidden_channels,
            w_channels,
            z_channels,
            num_blocks=num_blocks,
            part_noise=False,
            z_head=whole_posterior(whole_channels, z_channels),
            aggr=aggr,
            w_head=NoiseHead(w_prior, hidden_channels),
        ),
        z_prior=StandardNormal(z_channels),
        w_prior=w_prior,
        decoder=decoder,
        embedding=DifferenceEmbedding(w_prior, decoder, whole_channels, part_channels),
        event_shape=(3, IMAGE_SIZE, IMAGE_SIZE),
        min_scale=_TINY,
        min_whole_scale=min_pixel_scale,
        residual_posterior=True,
    )
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
