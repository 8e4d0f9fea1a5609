"""What pictures and plots of the page show, for those who do not see them."""

from __future__ import annotations

import json
from collections.abc import Mapping

__all__ = ["alternative_text"]

_SCRIPT = """
() => {
  const describe = () => {
    const field = document.querySelector("#FIELD textarea, #FIELD input");
    for (const [id, what] of Object.entries(WHAT)) {
      const text = what + " " + (field?.value || "nothing");
      const box = document.getElementById(id);
      const image = box?.querySelector("img");
      if (image) {
        if (image.alt !== text) image.alt = text;
      } else if (box && box.getAttribute("aria-label") !== text) {
        box.setAttribute("role", "img");
        box.setAttribute("aria-label", text);
      }
    }
  };
  setInterval(describe, 500);
}
"""


def alternative_text(field: str, what: Mapping[str, str]) -> str:
    """Return the script that gives pictures and plots their texts.

    A text is what is said here of the picture, and then what a hidden field holds.

    Args:
        field: Name of the field on the page, its ``elem_id``.
        what: What is said, by the names of the pictures and plots.

    Example:
        >>> "A curve of" in alternative_text("waves", {"curves": "A curve of"})
        True
    """
    return _SCRIPT.replace("FIELD", field).replace("WHAT", json.dumps(what))
