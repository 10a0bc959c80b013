import numpy as np

from molvae.latent.plane import Plane


def test_the_axes_are_the_widest_directions():
    rng = np.random.default_rng(0)
    wide = np.array([0.6, 0.0, -0.8])
    next_wide = np.array([0.8, 0.0, 0.6])
    scores = rng.normal(size=(400, 2)) * [9.0, 3.0]
    points = 5 + scores @ np.stack([wide, next_wide])
    plane = Plane.fit(points)
    np.testing.assert_allclose(np.abs(plane.axes @ wide), [1, 0], atol=0.05)
    assert all(axis[np.abs(axis).argmax()] > 0 for axis in plane.axes)
    np.testing.assert_allclose(sum(plane.shares), 1)
    placed = plane.place(points)
    np.testing.assert_allclose(placed.mean(axis=0), 0, atol=1e-9)
    # What lies in the plane keeps its distances.
    np.testing.assert_allclose(
        np.linalg.norm(placed[0] - placed[1]), np.linalg.norm(points[0] - points[1])
    )


def test_equal_points_and_one_point_are_in_the_middle():
    for points in (np.ones((4, 3)), np.ones((1, 3))):
        plane = Plane.fit(points)
        assert plane.shares == (0.0, 0.0)
        np.testing.assert_array_equal(plane.place(points), np.zeros((len(points), 2)))
