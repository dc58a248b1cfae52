"""`python -m bombo` is `bombo`; `torchrun -m bombo` starts it in several processes."""

from bombo.cli import main

main()
