"""For the tests of an application that uses the client: a service without a service.

from afterwards_client.testing import FakeAfterwards

def test_an_order_has_its_invoice_made():
with FakeAfterwards() as service:
place_order(7)
[task] = service.tasks("invoice")
assert task.payload == {"number": 7}
"""

from afterwards_client.testing.fake import FakeAfterwards
from afterwards_client.testing.notices import Delivery
from afterwards_client.testing.problems import NeverFinished, NotFaked

__all__ = ["Delivery", "FakeAfterwards", "NeverFinished", "NotFaked"]
