import dataclasses

import pytest
import torch

from compvae_pyg import Composition


@pytest.fixture
def composition(small_model, batch_of, draw):
    return Composition(
        generator=small_model().generator,
        parts=draw(6, 3),
        batch=batch_of((2, 0, 3, 1, 0)),
        batch_size=5,
        w=draw(6, 4, seed=1),
        z=draw(5, 2, seed=2),
    )


def test_sums_are_those_of_each_set(composition):
    w = composition.w
    expected = torch.stack([w[:2].sum(0), 0 * w[0], w[2:5].sum(0), w[5], 0 * w[0]])
    torch.testing.assert_close(composition.w_sum, expected)


def test_decoding_is_the_decoder_of_sum_and_z(composition):
    law = composition.decode()
    assert law.batch_shape == (5,) and law.event_shape == (5,)
    expected = composition.generator.decoder(composition.w_sum, composition.z)
    torch.testing.assert_close(law.mean, expected.mean)
    torch.testing.assert_close(law.stddev, expected.stddev)


def test_is_frozen(composition):
    with pytest.raises(dataclasses.FrozenInstanceError):
        composition.w = torch.zeros(6, 4)
    other = dataclasses.replace(composition, z=torch.zeros_like(composition.z))
    assert (other.decode().mean != composition.decode().mean).all()
