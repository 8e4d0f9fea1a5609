"""Networks of the dots problem."""

import math

import torch
from torch import Tensor, nn

from compvae_pyg.models import CompVAE, CompVAEEncoder, CompVAEGenerator, NormalNetwork, Parts, register_architecture
from compvae_pyg.nn import Residual


def cell_centres(grid: int, size: int = 32) -> Tensor:
    cell = size // grid
    pixel = torch.linspace(-1.0, 1.0, size)
    return pixel.view(grid, cell).mean(1)


class RelativePrior(nn.Module):
    """Mean and log variance of w at each cell of a grid, from the site's colour and offset."""

    def __init__(self, channels=8, grid=8, hidden=32, num_colors=5, small_scale=0.05):
        super().__init__()
        self.channels, self.grid = channels, grid
        line = cell_centres(grid)
        yy, xx = torch.meshgrid(line, line, indexing="ij")
        self.register_buffer("cells", torch.stack([xx, yy], -1).view(-1, 2), persistent=False)
        self.embed = nn.Embedding(num_colors, hidden)
        self.lin = nn.Linear(5, hidden)
        self.mid = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, 2 * channels)
        self.act = nn.ELU()
        with torch.no_grad():
            self.out.bias[channels:] = 2 * math.log(small_scale)
            self.out.weight[channels:] *= 0.1

    def forward(self, parts: Parts) -> Tensor:
        color, pos = parts["color"], parts["pos"]
        d = self.cells - pos.unsqueeze(1)  # N, G2, 2
        d2 = d.square().sum(-1, keepdim=True)
        f = torch.cat([d, torch.exp(-d2 * 3), torch.exp(-d2 * 8), torch.exp(-d2 * 20)], -1)
        h = self.act(self.lin(f) + self.embed(color).unsqueeze(1))
        h = self.act(self.mid(h))
        out = self.out(h)  # N, G2, 2C
        return out.transpose(1, 2).flatten(1)  # N, 2C*G2


class GridDecoder(nn.Module):
    def __init__(self, channels=8, grid=8, z_channels=32, width=64, width2=32, symlog=True, blocks=2):
        super().__init__()
        self.channels, self.grid, self.symlog = channels, grid, symlog
        self.inp = nn.Conv2d(channels, width, 3, padding=1)
        self.z = nn.Linear(z_channels, width * grid * grid)
        self.glob = nn.Linear(width, width)
        self.blocks = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(blocks))
        self.up1 = nn.Conv2d(width, 4 * width2, 3, padding=1)
        self.mid = nn.Conv2d(width2, width2, 3, padding=1)
        self.up2 = nn.Conv2d(width2, 16, 3, padding=1)
        self.act = nn.ELU()
        self.shuffle = nn.PixelShuffle(2)
        with torch.no_grad():
            self.z.weight *= 0.1

    def forward(self, w_sum: Tensor, z: Tensor) -> Tensor:
        g = self.grid
        w = w_sum.view(-1, self.channels, g, g).contiguous(memory_format=torch.channels_last)
        if self.symlog:
            w = torch.sign(w) * torch.log1p(w.abs())
        h = self.inp(w) + self.z(z).view(w.shape[0], g, g, -1).permute(0, 3, 1, 2)
        h = self.act(h)
        for conv in self.blocks:
            h = h + self.act(conv(h) + self.glob(h.mean((2, 3)))[:, :, None, None])
        h = self.act(self.shuffle(self.up1(h)))
        h = h + self.act(self.mid(h))
        return self.shuffle(self.up2(h))


class GlimpseEmbedding(nn.Module):
    def __init__(self, out=192, part=96, freqs=4, ch=32):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(3, 32, 4, 2, 1), nn.ELU(),
            nn.Conv2d(32, 48, 4, 2, 1), nn.ELU(),
            nn.Conv2d(48, ch, 3, 1, 1), nn.ELU())
        self.lin = nn.Sequential(nn.Flatten(), nn.Linear(ch * 64, out), nn.ELU())
        self.embed = nn.Embedding(5, 32)
        self.register_buffer("freq", math.pi * 2.0 ** torch.arange(freqs) / 2, persistent=False)
        self.part = nn.Linear(32 + 4 * freqs + 2 + 4 * ch, part)
        r = 0.3
        self.register_buffer("offsets", r * torch.tensor([[0.5, 0.5], [-.5, .5], [.5, -.5], [-.5, -.5]]) * 2, persistent=False)

    def forward(self, whole, parts, batch):
        x = (2 * whole - 1).contiguous(memory_format=torch.channels_last)
        h = self.conv(x)
        S, C, G, _ = h.shape
        color, pos = parts["color"], parts["pos"]
        # bilinear sampling at pos + offsets, packed
        flat = h.permute(0, 2, 3, 1).reshape(S * G * G, C)
        p = ((pos.unsqueeze(1) + self.offsets) + 1) * 31 / 2   # pixel coords
        c = ((p - 1.5) / 4).clamp(0, G - 1 - 1e-4)  # N,4,2
        i = c.floor().long(); f = c - i
        base = batch.view(-1, 1) * (G * G)
        def at(dx, dy):
            return flat.index_select(0, (base + (i[..., 1] + dy) * G + i[..., 0] + dx).flatten())
        fx, fy = f[..., 0].reshape(-1, 1), f[..., 1].reshape(-1, 1)
        g = (at(0, 0) * (1 - fx) + at(1, 0) * fx) * (1 - fy) + (at(0, 1) * (1 - fx) + at(1, 1) * fx) * fy
        g = g.view(pos.shape[0], -1)
        ang = (pos.unsqueeze(-1) * self.freq).flatten(1)
        return self.lin(h), self.part(torch.cat([self.embed(color), pos, ang.sin(), ang.cos(), g], -1))


@register_architecture("dots-small")
def build_small(channels=8, hidden=128, whole=64, part=64, z=16, coupling="scaled", floor=0.02, width=64, width2=32, symlog=True, blocks=2) -> CompVAE:
    dw = channels * 64
    enc = CompVAEEncoder(whole, part, hidden, dw, z, num_blocks=2, coupling=coupling, part_noise=False)
    zp = nn.Sequential(nn.Linear(dw, 128), nn.ELU(), nn.Linear(128, 2 * z))
    dec = GridDecoder(channels, z_channels=z, symlog=symlog, width=width, width2=width2, blocks=blocks)
    with torch.no_grad():
        enc.w_head.weight *= 0.1
        enc.w_head.bias.zero_()
        enc.w_head.bias[2 * dw:] = -3.0
        for lin in (enc.z_head[-1], zp[-1], dec.z):
            lin.weight.zero_()
            lin.bias.zero_()
    gen = CompVAEGenerator(
        NormalNetwork(RelativePrior(channels), 0.005),
        NormalNetwork(zp, 0.005),
        NormalNetwork(dec, floor, mean_channels=3, event_dims=3),
    )
    return CompVAE(enc, gen, GlimpseEmbedding(whole, part), (3, 32, 32), residual_posterior=True)
