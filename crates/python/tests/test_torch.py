"""Tensors through queues, and PyTorch's loader of data over a context of this package."""

import pytest

from multiproc import Queue, get_context

torch = pytest.importorskip("torch")
data = pytest.importorskip("torch.utils.data")


class Numbers(data.Dataset):
    def __len__(self):
        return 20

    def __getitem__(self, index):
        return torch.full((100, 100), float(index))


def double(tensors, doubled):
    doubled.put(tensors.get() * 2)
    # A tensor's memory comes from the process that sent it.
    tensors.get()


def test_a_tensor_goes_through_a_queue_and_back(method, finish):
    tensors, doubled = Queue(), Queue()
    process = method.Process(target=double, args=(tensors, doubled))
    process.start()
    tensors.put(torch.arange(100_000.0))
    assert torch.equal(doubled.get(timeout=60), torch.arange(100_000.0) * 2)
    tensors.put(None)
    finish(process)


@pytest.mark.parametrize("name", ["fork", "spawn"])
def test_a_loader_of_data_takes_a_context(name, monkeypatch):
    context, queues = get_context(name), []

    def make(maxsize=0):
        queues.append(Queue(maxsize, ctx=context))
        return queues[-1]

    monkeypatch.setattr(context, "Queue", make)
    loader = data.DataLoader(Numbers(), batch_size=4, num_workers=2, multiprocessing_context=context)
    numbers = [number for batch in loader for number in batch[:, 0, 0].tolist()]
    assert numbers == list(range(20))
    # One for the results, and one for each worker.
    assert len(queues) == 3
