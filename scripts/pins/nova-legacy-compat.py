"""Gives Python back what python-novaclient 2.26 and python-keystoneclient 1.8 expect of the Python of their time.

The clients themselves stay as published. Two things are missing today: inspect.getargspec (gone since Python 3.11),
and that a dict may be reordered while iterating over it, as keystoneclient does with the adapters of a
requests session (an error since Python 3.5)."""

import collections
import inspect

import requests.sessions

ArgSpec = collections.namedtuple("ArgSpec", "args varargs keywords defaults")


class Adapters(collections.OrderedDict):
    def __iter__(self):
        return iter(list(super().__iter__()))


inspect.getargspec = lambda function: ArgSpec(*inspect.getfullargspec(function)[:4])
requests.sessions.OrderedDict = Adapters
