"""The pages, one module each; ``show()`` draws the page and is called at every change."""
