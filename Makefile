# onejob's set-up and checks. Each target does all that it needs; a second run is quick.
PYTHON ?= python3
ARGS ?=
# rustup puts cargo here, and not every shell's PATH has it.
export PATH := $(PATH):$(HOME)/.cargo/bin

.PHONY: help install demo attacks gallery installer test test-all schema hardware clean

help:
	@echo "make install   system packages (apt-get), .venv/bin/onejob, native parts"
	@echo "make demo      nginx becomes its own operating system, measured"
	@echo "make attacks   a service is taken over, on the stock system and in its image; docs/attacks.md"
	@echo "make gallery   all services of the gallery, rehearsed on this host and in QEMU; SPECIFICATION.md"
	@echo "make installer build/installer/installer.onejob, which installs services on PCs; docs/installer-iso.md"
	@echo "make test      the test suite without its slow part; ARGS='-k wheel' for some of it"
	@echo "make test-all  all of it"
	@echo "make schema    docs/profile.rng anew, after a change of the profile's nouns"
	@echo "make hardware  hardware/pc.json anew, after a change of the components"
	@echo "make clean     remove what was built here; the cache of kernels stays"

install:
	@scripts/check-machine.sh $(PYTHON)
	@scripts/install-packages.sh $(PYTHON)
	@scripts/make-venv.sh $(PYTHON)
	@scripts/build-native.sh
	@scripts/build-static-server.sh
	@echo "installed: .venv/bin/onejob"

demo: install
	@.venv/bin/python -m onejob.bench.demo

attacks: install
	@.venv/bin/python -m onejob.bench.attacks.page

gallery: install
	@.venv/bin/python -m onejob.bench.gallery.page

installer: install
	@.venv/bin/python scripts/make_installer.py

test: install
	@.venv/bin/python -m pytest -m "not slow" $(ARGS)

test-all: install
	@.venv/bin/python -m pytest $(ARGS)

SCHEMA = from onejob.model.profile_schema import schema_text; print(schema_text(), end='')
schema: install
	@.venv/bin/python -c "$(SCHEMA)" >docs/profile.rng

hardware: install
	@.venv/bin/python scripts/pc_hardware.py .

clean:
	rm -rf .venv build dist native/target src/onejob/_native services/static-rust/static-server
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests scripts -name __pycache__ -prune -exec rm -rf {} +
