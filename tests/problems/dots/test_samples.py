import torch

from compvae_pyg.problems.dots import recompose_dots, reconstruct_dots, render_dots


def test_true_images_add_one_site_a_column_and_change_no_other(untrained, dots):
    """A site takes the same share of each pixel's linear light from all that was there before."""
    series = recompose_dots(untrained, dots, num_parts=6, num_samples=2, seed=1)
    assert series.color.shape == (6,)
    assert series.pos.shape == (6, 2)
    alone = render_dots(series.color[:1], series.pos[:1], torch.ones(1), torch.tensor([0]), 1)
    torch.testing.assert_close(series.truth[0], alone[0])
    palette = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0], [1, 1, 1]])
    light = series.truth.double() ** 2.4
    compared = 0
    for before, after, color in zip(light[:-1], light[1:], series.color[1:], strict=True):
        new = palette[color].view(3, 1, 1)
        left = (after - new) / (before - new)
        clear = (before - new).abs() > 0.05
        highest = left.where(clear, -torch.inf).amax(dim=0)
        lowest = left.where(clear, torch.inf).amin(dim=0)
        several = clear.sum(dim=0) > 1
        torch.testing.assert_close(highest[several], lowest[several], rtol=0.0, atol=1e-4)
        assert (0.0 <= lowest[several]).all() and (highest[several] <= 1.0 + 1e-6).all()
        compared += int(several.sum())
    assert compared > 500


def test_generated_series_keep_what_was_drawn_for_their_sites(untrained, dots, record_decoder):
    generator = untrained.generator
    recorded = record_decoder(untrained)
    series = recompose_dots(untrained, dots, num_parts=4, num_samples=3)
    assert series.generated.shape == (3, 4, 3, 32, 32)
    with torch.no_grad():
        prior = generator.w_prior({"color": series.color, "pos": series.pos})
        z_prior = generator.z_prior(recorded.w_sum)
    # What a column adds to the sum is one draw from the prior of the site that it adds.
    added = recorded.w_sum.view(3, 4, -1).diff(dim=1)
    surprise = (added - prior.mean[1:]) / prior.stddev[1:]
    # Differences of sums have the digits of the largest.
    surprise = surprise[(prior.stddev[1:] > 1e-5).expand_as(surprise)]
    assert surprise.abs().max() < 6.0
    assert 0.9 < surprise.std() < 1.1
    assert not torch.equal(added[0], added[1])
    noise = ((recorded.z - z_prior.mean) / z_prior.stddev).view(3, 4, -1)
    torch.testing.assert_close(noise, noise[:, :1].expand_as(noise), rtol=0.0, atol=1e-4)
    assert not torch.allclose(noise[0], noise[1])


def test_reconstructions_pair_images_of_the_sizes_asked_for(untrained, dots):
    pairs = reconstruct_dots(untrained, dots, num_parts=[3, 1], num_examples=2, seed=1)
    assert pairs.num_parts.tolist() == [3, 3, 1, 1]
    assert pairs.whole.shape == pairs.reconstruction.shape == (4, 3, 32, 32)
    # An image of one site is of one colour; of an untrained model nothing can be hoped.
    assert float(pairs.whole[2:].flatten(2).std(dim=2).max()) < 1e-6
    assert not torch.equal(pairs.whole, pairs.reconstruction)


def test_samples_depend_on_the_seed_alone(untrained, dots):
    first = reconstruct_dots(untrained, dots, num_parts=[2], num_examples=2)
    composed = recompose_dots(untrained, dots, num_parts=3, num_samples=2)
    state = torch.get_rng_state()
    again = reconstruct_dots(untrained, dots, num_parts=[2], num_examples=2)
    recomposed = recompose_dots(untrained, dots, num_parts=3, num_samples=2)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.reconstruction, again.reconstruction)
    assert torch.equal(composed.generated, recomposed.generated)
    other = recompose_dots(untrained, dots, num_parts=3, num_samples=2, seed=1)
    assert not torch.equal(composed.pos, other.pos)
