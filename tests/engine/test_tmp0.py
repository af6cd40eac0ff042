from tests.engine.world import *
from tests.sim.effects import *
import pytest
from trio.testing import MockClock

@pytest.mark.parametrize("fault", every_fault(), ids=str)
@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
@pytest.mark.parametrize("target", [ONE, BOTH, BACKED_UP], ids=["one", "two", "backup"])
@pytest.mark.parametrize("whole", [True, False])
async def test_x(autojump_clock, fault, method, target, whole):
    async with world(fault) as w:
        out = await w.ask(method, "/x", target=target, whole=whole, **({} if method=="GET" else {"content": b"c"*500}))
        out2 = await w.ask("GET", "/y", target=target)
