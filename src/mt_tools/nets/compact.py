"""The compact convolutional network whose averaged maps are 160 features of a track.

Source: K. Choi, G. Fazekas, M. Sandler, K. Cho, "Transfer learning for music classification and
regression tasks", ISMIR 2017 (arXiv:1703.09179), in the form of its public weights. It is the
extractor of the DJ study's second route and the baseline "Choi" of the REP study.

Conventions: features are [n, bands, frames] or [n, channels, bands, frames], in decibels below the
maximum of the clip.
"""

from __future__ import annotations

from torch import nn

from mt_tools.errors import UsageError
from mt_tools.nets.body import Body, Images, image_shape
from mt_tools.nets.cnn import MapMeans, conv_blocks, pooled


class CompactCnn(Body):
    """Five blocks of 3x3 convolution, batch norm, ELU and max pool; then the mean of each map.

    Shape: [n, (channels,) 96 or more bands, 1,280 or more frames] -> [n, 32], the last maps. The
    160 features are the means of the maps of conv1 to conv5, side by side, each taken after its
    pool. With `per_clip` each clip is normalised by its own statistics, as the authors' script for
    single files does; otherwise by those of a population. Layers: input, conv1 to conv5, pool.
    """

    POOLS = ((2, 4), (3, 4), (2, 5), (2, 4), (4, 4))
    MAPS = 32
    # That of Keras 1.2.
    EPSILON = 1e-3

    def __init__(self, input_shape: tuple[int, ...], per_clip: bool = False) -> None:
        channels, bands, frames = image_shape(input_shape)
        if not all(pooled(bands, frames, self.POOLS)):
            raise UsageError(
                f"compact-choi pools 96 x 1,280 into one: got {bands} bands x {frames} frames; "
                "choose features of 96 bands or more and 1,280 frames or more (--preset choi2017), "
                "or --net cnn"
            )
        widths = [self.MAPS] * len(self.POOLS)
        blocks = conv_blocks(channels, widths, self.POOLS, 0.0, self.EPSILON)
        if per_clip:
            for block in blocks.values():
                # A group a map; torch's instance norm refuses an empty batch.
                block[1] = nn.GroupNorm(self.MAPS, self.MAPS, eps=self.EPSILON)
        super().__init__({"input": Images(), **blocks, "pool": MapMeans()}, self.MAPS)
        self.blocks = tuple(blocks)


POPULATION = (
    "479 parts of 29 s of the free music of four games: Debian's hedgewars-data 1.0.2-6, "
    "supertux-data 0.6.3-2, warzone2100-music 4.3.3-3 and wesnoth-1.16-music 1:1.16.9-1"
)
"""What `STATISTICS` are of: at most four parts a piece, evenly spread, of 136 pieces.

It was chosen by the published features of GTZAN, whose audio is not free. By these statistics the
means of the 160 features of this music correlate with theirs by .98, as those of another data set
of the same authors (emoMusic) do by .997; by those of the made corpus (`mt-fetch synth`) the
correlation is .83, and by those of only the four clips of the Music Auto-Tagger .88.
"""

# Mean and variance of each map before each batch norm, as `fix_statistics` finds them.
STATISTICS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "shared.conv1.1": (
        (
            13.8678, 215.489, 4.57463, -25.687, 8.8789, -38.9301, -0.763772, -19.1227,
            -28.4468, 25.5602, 40.22, -15.0763, 1.93703, -23.6223, -3.86218, 18.0672,
            -210.816, 8.40644, -8.53299, 27.2338, -7.71138, 2.27153, -2.14552, -11.6808,
            -4.47072, -27.8903, 2.87933, -1.41011, -116.891, -11.7595, 81.9924, -7.85301,
        ),
        (
            307.052, 6386.22, 555.661, 420.113, 933.845, 494.538, 139.463, 586.922,
            574.629, 565.063, 695.028, 314.889, 1179.34, 207.951, 111.679, 243.013,
            5457.29, 448.105, 108.282, 313.06, 186.591, 104.522, 402.478, 457.569,
            78.9218, 470.67, 221.568, 335.353, 1756.93, 430.795, 1257.34, 841.164,
        ),
    ),
    "shared.conv2.1": (
        (
            -23.5054, -9.52012, -28.4386, -20.245, -7.18219, -6.25956, 2.88756, -3.3498,
            -15.0926, 17.612, -0.465425, -12.3105, -14.7523, 28.9176, -47.6465, -8.60674,
            -1.89307, -22.8877, -9.35904, -16.0834, 5.71039, -8.80965, -4.11835, -24.7213,
            -12.3146, -15.4296, 14.4008, 17.11, -23.3141, -5.52069, -11.3019, -11.776,
        ),
        (
            554.849, 321.156, 1317.45, 661.843, 414.657, 447.306, 238.806, 671.277,
            541.067, 1042.8, 395.857, 256.077, 807.303, 1198.59, 1525.12, 515.676,
            1247.0, 889.5, 479.286, 803.434, 342.642, 588.663, 727.956, 971.576,
            620.325, 620.147, 549.288, 674.952, 565.893, 546.591, 476.515, 315.426,
        ),
    ),
    "shared.conv3.1": (
        (
            -3.69043, -0.278407, 16.1689, -8.91179, -0.542619, 1.91652, -14.3764, -17.2291,
            5.20235, 6.3583, -17.5277, -2.49338, -37.6443, -5.39604, -31.8056, -3.42691,
            -25.0802, -2.50916, 11.8939, 11.6747, 10.3587, -12.9837, -14.5551, -0.474223,
            -42.2052, -26.1406, -2.13793, -10.6333, 3.27236, 4.68046, -1.54292, -3.07769,
        ),
        (
            205.556, 299.305, 251.954, 165.381, 111.682, 200.993, 338.707, 201.536,
            274.291, 532.008, 359.807, 246.644, 273.27, 376.936, 391.327, 258.579,
            291.029, 155.664, 161.563, 307.64, 232.985, 202.82, 311.82, 141.35,
            446.788, 214.853, 224.114, 266.134, 254.914, 197.806, 314.318, 318.426,
        ),
    ),
    "shared.conv4.1": (
        (
            5.97459, 2.39187, -3.08163, -26.6265, -1.65893, -34.4224, 24.642, -0.608433,
            10.2409, -2.40145, -0.612508, 7.44854, -16.5424, -24.0567, -7.39904, 31.2993,
            -20.3862, -14.7752, -48.6662, -2.3356, -18.0733, 4.30481, 3.4894, -1.73796,
            -2.05927, 13.8412, -1.19917, -41.2271, -18.6797, -24.744, -13.2904, 2.98134,
        ),
        (
            192.608, 269.059, 337.394, 284.803, 320.199, 702.404, 412.164, 710.976,
            423.368, 215.678, 419.556, 487.796, 529.855, 378.066, 470.567, 334.095,
            522.943, 254.303, 389.745, 240.423, 328.567, 327.018, 221.028, 261.94,
            484.778, 375.209, 404.268, 474.939, 454.653, 453.871, 301.313, 295.615,
        ),
    ),
    "shared.conv5.1": (
        (
            -24.9572, -15.8025, 7.62256, -36.9666, -14.6622, -8.83789, -26.6669, 8.70571,
            -20.9516, -24.3063, -14.964, -26.0151, -12.809, -9.25799, -3.7339, 3.87984,
            9.47878, -16.3852, -18.8817, -22.4342, -23.2698, -44.5548, 15.6837, -16.4739,
            -10.9726, -2.68446, -13.3972, -37.4282, -25.9619, 1.80708, -9.63092, -22.2021,
        ),
        (
            777.448, 765.556, 458.292, 577.687, 410.241, 367.31, 673.182, 472.673,
            496.138, 819.788, 368.524, 614.699, 495.629, 353.958, 1295.62, 588.364,
            435.301, 1038.6, 775.518, 722.214, 865.889, 999.239, 402.328, 511.905,
            626.44, 386.767, 789.118, 835.4, 410.988, 380.869, 436.717, 409.61,
        ),
    ),
}  # fmt: skip
