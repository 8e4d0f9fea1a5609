"""Start the demo; Gradio's own variables, as ``GRADIO_SERVER_PORT``, say where."""

from compvae_pyg.demo.app import build_app

if __name__ == "__main__":
    build_app().launch()
