"""Random orders of samplers, splits and loaders; run with PyTorch to make data.json, and with flambeau to compare."""


def results(torch) -> dict:
    data = torch.utils.data

    class Numbers(data.Dataset):
        def __len__(self):
            return 23

        def __getitem__(self, i):
            return i

    def seeded():
        return torch.Generator().manual_seed(3)

    def batches(**kwargs):
        return [batch.tolist() for batch in data.DataLoader(Numbers(), **kwargs)]

    found = {}
    torch.manual_seed(7)
    found["shuffled"] = [batches(shuffle=True, batch_size=4) for _ in range(3)]
    found["default generator after"] = torch.randint(1000, (3,)).tolist()
    batches()
    found["after an ordered epoch"] = torch.randint(1000, (3,)).tolist()
    generator = seeded()
    found["own generator"] = [
        batches(shuffle=True, batch_size=5, drop_last=True, generator=generator) for _ in range(2)
    ]
    found["own generator after"] = torch.randint(1000, (3,), generator=generator).tolist()
    for name, kwargs in {
        "replacement": {"replacement": True, "num_samples": 70},
        "replacement 32": {"replacement": True, "num_samples": 32},
        "more": {"num_samples": 55},
        "fewer": {"num_samples": 4},
    }.items():
        generator = seeded()
        found[name] = list(data.RandomSampler(Numbers(), generator=generator, **kwargs))
        found[name + " after"] = torch.randint(1000, (3,), generator=generator).tolist()
    found["subset"] = list(data.SubsetRandomSampler([5, 6, 7, 8], generator=seeded()))
    for replacement in (True, False):
        sampler = data.WeightedRandomSampler([0.1, 0.5, 0.9, 0.3], 4, replacement, generator=seeded())
        found[f"weighted {replacement}"] = list(sampler)
    found["distributed"] = [
        list(data.DistributedSampler(Numbers(), num_replicas=4, rank=rank, seed=5, drop_last=drop))
        for rank in range(4)
        for drop in (True, False)
    ]
    for lengths in ([0.33, 0.33, 0.34], [20, 3], [0.5, 0.5]):
        found[f"split {lengths}"] = [
            part.indices for part in data.random_split(Numbers(), lengths, generator=seeded())
        ]
    torch.manual_seed(1)
    found["split by default"] = [part.indices for part in data.random_split(Numbers(), [20, 3])]
    return found


if __name__ == "__main__":
    import json

    import torch.utils.data

    print(json.dumps(results(torch)))
