"""Tries other deploy paths against scenarios on lab hosts, and judges them by the contract."""
