# make verify: hashes, memories, and every back end that can run here against the test vectors.
PYTHON ?= python3
CXX ?= g++

.PHONY: verify library

verify:
	PYTHONDONTWRITEBYTECODE=1 $(PYTHON) verify.py

library:  # make library BUILD=/some/where
	mkdir -p $(BUILD)
	$(CXX) -std=c++17 -O3 -march=native -shared -fPIC -o $(BUILD)/libcascade.so cpp/cascade_model.cpp
