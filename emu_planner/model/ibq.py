"""IBQ, the vision tokenizer of Emu3.5: pictures to grids of discrete codes and back.

Index Backpropagation Quantisation (Shi et al. 2024) on the VQGAN encoder and decoder (Esser et
al. 2021). Parameter names are the published checkpoint's. Knows no file, no vocabulary, no loss.

Shapes: B pictures, [H, W] pixels, [h, w] codes with h = H / downsampling.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emu_planner.model.precision import exact_float32

_GROUPS = 32
# rows of latents and of codes whose products are computed at once
_TILE_ROWS, _TILE_CODES = 4096, 8192


@dataclass(frozen=True)
class VisionConfig:
    """Size of the tokenizer; field names are those of the published config.yaml."""

    # channels of the first level; each level has ch * ch_mult[level]
    ch: int = 256
    ch_mult: tuple[int, ...] = (1, 1, 2, 2, 4)
    # residual blocks a level in the encoder; the decoder has one more
    num_res_blocks: int = 4
    # attention in the deepest level, besides the one in the middle
    deep_attention: bool = True
    z_channels: int = 256
    # size of one code vector
    embed_dim: int = 256
    # number of codes
    n_embed: int = 131072
    # side of the square of pixels that the first convolution sees as channels; published: 1
    patch_size: int = 1

    @property
    def downsampling(self) -> int:
        """Pixels a code is wide and high."""
        return self.patch_size * 2 ** (len(self.ch_mult) - 1)


class ResnetBlock(nn.Module):
    """Two 3x3 convolutions, each after group norm and swish, around a shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1 = _norm(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2 = _norm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        if inputs != outputs:
            self.nin_shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, h, w] -> [B, outputs, h, w]."""
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y)))
        return y + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class AttnBlock(nn.Module):
    """Single-head self-attention over all positions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _norm(channels)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, h, w] -> the same shape."""
        y = self.norm(x)
        q, k, v = (f(y).flatten(2).transpose(1, 2)[:, None] for f in (self.q, self.k, self.v))
        out = F.scaled_dot_product_attention(q, k, v)[:, 0].transpose(1, 2)
        return x + self.proj_out(out.reshape(x.shape))


class Downsample(nn.Module):
    """Stride-2 convolution, padded below and on the right only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C, h / 2, w / 2]."""
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Nearest neighbour, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C, 2 h, 2 w]."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Middle(nn.Module):
    """Residual block, attention, residual block at the deepest level."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block_1 = ResnetBlock(channels, channels)
        self.attn_1 = AttnBlock(channels)
        self.block_2 = ResnetBlock(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] -> the same shape."""
        return self.block_2(self.attn_1(self.block_1(x)))


class Level(nn.Module):
    """One resolution: blocks, attention after each where there is one, then a change of size."""

    def __init__(self, inputs: int, outputs: int, blocks: int, *, attention: bool) -> None:
        super().__init__()
        self.block = nn.ModuleList(
            ResnetBlock(inputs if index == 0 else outputs, outputs) for index in range(blocks)
        )
        self.attn = nn.ModuleList(AttnBlock(outputs) for _ in range(blocks if attention else 0))

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, h, w] -> [B, outputs, h', w']."""
        for index, block in enumerate(self.block):
            x = block(x)
            if self.attn:
                x = self.attn[index](x)
        for name in ("downsample", "upsample"):
            if (resize := self._modules.get(name)) is not None:
                x = resize(x)
        return x


class Encoder(nn.Module):
    """Picture to latent grid."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.patch_size = config.patch_size
        widths = [config.ch * multiple for multiple in config.ch_mult]
        self.conv_in = nn.Conv2d(3 * config.patch_size**2, config.ch, 3, padding=1)
        self.down = nn.ModuleList()
        for index, width in enumerate(widths):
            deepest = index == len(widths) - 1
            level = Level(
                widths[index - 1] if index else config.ch,
                width,
                config.num_res_blocks,
                attention=deepest and config.deep_attention,
            )
            if not deepest:
                level.downsample = Downsample(width)
            self.down.append(level)
        self.mid = Middle(widths[-1])
        self.norm_out = _norm(widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], config.z_channels, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] in [-1, 1] -> [B, z_channels, h, w]."""
        x = self.conv_in(F.pixel_unshuffle(images, self.patch_size))
        for level in self.down:
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(self.mid(x))))


class DecoderCNN(nn.Module):
    """Latent grid to picture."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.patch_size = config.patch_size
        widths = [config.ch * multiple for multiple in config.ch_mult]
        self.conv_in = nn.Conv2d(config.z_channels, widths[-1], 3, padding=1)
        self.mid = Middle(widths[-1])
        levels: list[Level] = []
        for index in reversed(range(len(widths))):
            deepest = index == len(widths) - 1
            level = Level(
                widths[index] if deepest else widths[index + 1],
                widths[index],
                config.num_res_blocks + 1,
                attention=deepest and config.deep_attention,
            )
            if index:
                level.upsample = Upsample(widths[index])
            levels.insert(0, level)
        self.up = nn.ModuleList(levels)
        self.norm_out = _norm(config.ch * config.ch_mult[0])
        self.conv_out = nn.Conv2d(widths[0], 3 * config.patch_size**2, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """[B, z_channels, h, w] -> [B, 3, H, W], about [-1, 1]."""
        x = self.mid(self.conv_in(z))
        for level in reversed(self.up):
            x = level(x)
        return F.pixel_shuffle(self.conv_out(F.silu(self.norm_out(x))), self.patch_size)


class Codebook(nn.Module):
    """The code vectors; the code of a latent is the one with the largest dot product."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.n_embed, config.embed_dim)

    def nearest(self, z: Tensor) -> Tensor:
        """z [B, embed_dim, h, w] -> ids [B, h, w]; the lower id where two products are equal.

        In tiles that bound memory (128 MiB): all products of a picture of 1024 px are 2 GiB.
        """
        flat = z.permute(0, 2, 3, 1).reshape(-1, z.shape[1]).float()
        ids = torch.cat([self._nearest_rows(rows) for rows in flat.split(_TILE_ROWS)])
        return ids.view(z.shape[0], *z.shape[2:])

    def _nearest_rows(self, rows: Tensor) -> Tensor:
        """[n, embed_dim] -> ids [n]."""
        best = rows.new_full((len(rows),), -torch.inf)
        ids = torch.zeros(len(rows), dtype=torch.long, device=rows.device)
        for index, codes in enumerate(self.embedding.weight.float().split(_TILE_CODES)):
            products, nearest = F.linear(rows, codes).max(dim=1)
            better = products > best
            best = torch.where(better, products, best)
            ids = torch.where(better, nearest + index * _TILE_CODES, ids)
        return ids


class VisionTokenizer(nn.Module):
    """Encoder, codebook and decoder."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = DecoderCNN(config)
        self.quantize = Codebook(config)
        self.quant_conv = nn.Conv2d(config.z_channels, config.embed_dim, 1)
        self.post_quant_conv = nn.Conv2d(config.embed_dim, config.z_channels, 1)

    @property
    def codes(self) -> Tensor:
        """The vectors [n_embed, embed_dim] of the codes."""
        return self.quantize.embedding.weight.detach()

    def initialise(self) -> None:
        """Every residual block begins as the identity: training starts several times faster."""
        for module in self.modules():
            if isinstance(module, ResnetBlock):
                nn.init.zeros_(module.conv2.weight)
            elif isinstance(module, AttnBlock):
                nn.init.zeros_(module.proj_out.weight)

    def latent(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] in [-1, 1] -> the continuous latent [B, embed_dim, h, w]."""
        return self.quant_conv(self.encoder(images))

    def reconstruct(self, z: Tensor) -> Tensor:
        """Code vectors [B, embed_dim, h, w] -> pictures [B, 3, H, W]."""
        return self.decoder(self.post_quant_conv(z))

    @torch.inference_mode()
    def encode(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] in [-1, 1] -> ids [B, h, w], in exact float32 if the weights are float32.

        Raises:
            ValueError: a side is no multiple of the downsampling.
        """
        height, width = images.shape[2:]
        if height % self.config.downsampling or width % self.config.downsampling:
            raise ValueError(
                f"picture is {width}x{height} px; both sides must be multiples of {self.config.downsampling}"
            )
        with exact_float32(images.device.type):
            return self.quantize.nearest(self.latent(images))

    @torch.inference_mode()
    def decode(self, ids: Tensor) -> Tensor:
        """ids [B, h, w] -> pictures [B, 3, H, W], clamped to [-1, 1]."""
        z = self.quantize.embedding(ids).permute(0, 3, 1, 2)
        return self.reconstruct(z).clamp(-1, 1)


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(_GROUPS, channels, eps=1e-6)
