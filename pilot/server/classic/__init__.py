"""The classic dialect: `/server/panda/<method>`, everything is text, the answer's form follows Accept."""
