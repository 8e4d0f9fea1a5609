"""Start the demo; Gradio's own variables, as ``GRADIO_SERVER_PORT``, say where."""

import sys

from compvae_pyg.command_line import one_line_errors

USAGE = """usage: python -m compvae_pyg.demo

Open the demo in a browser: images, curves and streets made of parts, by the shipped models.
Where it is served, Gradio's variables say: GRADIO_SERVER_NAME (127.0.0.1), GRADIO_SERVER_PORT
(7860).
"""

if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(USAGE)
        raise SystemExit(0 if sys.argv[1] in ("-h", "--help") else 2)
    with one_line_errors():
        print("loading the models ...", flush=True)
        from compvae_pyg.demo.app import build_app

        build_app().launch()
