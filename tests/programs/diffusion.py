"""diffusers: small networks in a step of training, files, noise schedules walked down, and a pipeline.

`python diffusion.py OUT.json` writes what it observes; run by flambeau in a test, by PyTorch for the golden file.
"""

import json
import sys
import tempfile
import warnings

import diffusers as D
import torch
from diffusers.optimization import get_cosine_schedule_with_warmup
from diffusers.training_utils import EMAModel

warnings.simplefilter("ignore")
D.utils.logging.set_verbosity_error()
D.utils.logging.disable_progress_bar()

SMALL = dict(sample_size=16, layers_per_block=1, block_out_channels=(16, 32), norm_num_groups=8)
PLAIN = dict(
    down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D")
)
CROSS = dict(
    down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    cross_attention_dim=24,
    attention_head_dim=8,
)
CODER = dict(down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2)
SCHEDULES = (
    "DDIM DDPM DEISMultistep DPMSolverMultistep DPMSolverSinglestep EulerAncestralDiscrete EulerDiscrete "
    "FlowMatchEulerDiscrete HeunDiscrete IPNDM LCM LMSDiscrete PNDM UniPCMultistep"
).split()


def unet():
    return D.UNet2DModel(in_channels=3, out_channels=3, **SMALL, **PLAIN)


def conditional():
    return D.UNet2DConditionModel(in_channels=4, out_channels=4, **SMALL, **CROSS)


def coder():
    return D.AutoencoderKL(latent_channels=4, norm_num_groups=8, block_out_channels=(16, 32), **CODER)


def transformer():
    sizes = dict(num_attention_heads=2, attention_head_dim=8, num_layers=2, sample_size=8, patch_size=2)
    return D.DiTTransformer2DModel(in_channels=4, num_embeds_ada_norm=10, **sizes).eval()


# How each is made, and called on what.
NETWORKS = {
    "unet": (unet, lambda m: m(torch.randn(2, 3, 16, 16), torch.tensor([3, 7]))),
    "conditional": (conditional, lambda m: m(torch.randn(2, 4, 16, 16), 10, torch.randn(2, 5, 24))),
    "coder": (coder, lambda m: m(torch.randn(2, 3, 16, 16))),
    "transformer": (
        transformer,
        lambda m: m(
            torch.randn(2, 4, 8, 8), timestep=torch.tensor([1, 2]), class_labels=torch.tensor([1, 2])
        ),
    ),
}


def network(name):
    make, call = NETWORKS[name]
    torch.manual_seed(0)
    model = make()
    found = {"weights": float(sum(p.detach().double().abs().sum() for p in model.parameters()))}
    sample = call(model).sample
    found["sample"] = sample.flatten()[:40].tolist()
    sample.square().mean().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    found["gradient"] = float(sum(g.double().square().sum() for g in gradients)) ** 0.5
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        loaded = type(model).from_pretrained(folder)
    pairs = zip(model.state_dict().values(), loaded.state_dict().values(), strict=True)
    found["same"] = all(torch.equal(a, b) for a, b in pairs)
    return found


def schedule(name):
    scheduler = getattr(D, name + "Scheduler")()
    scheduler.set_timesteps(6)
    torch.manual_seed(0)
    sample = torch.randn(1, 3, 8, 8) * float(getattr(scheduler, "init_noise_sigma", 1.0))
    found = []
    for step in scheduler.timesteps:
        seen = (
            scheduler.scale_model_input(sample, step) if hasattr(scheduler, "scale_model_input") else sample
        )
        sample = scheduler.step(torch.tanh(seen) * 0.5, step, sample).prev_sample
        found.append(sample.flatten()[:5].tolist())
    return found


def pipeline():
    torch.manual_seed(0)
    made = D.DDPMPipeline(unet(), D.DDPMScheduler())
    made.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    return made(num_inference_steps=3, generator=generator, output_type="np").images.flatten()[:40].tolist()


def training():
    torch.manual_seed(0)
    model, scheduler = unet(), D.DDPMScheduler()
    model.enable_gradient_checkpointing()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    rates, average = get_cosine_schedule_with_warmup(optimizer, 2, 6), EMAModel(model.parameters())
    losses = []
    for _ in range(4):
        images = torch.randn(2, 3, 16, 16)
        noise, steps = torch.randn_like(images), torch.randint(0, 1000, (2,))
        found = model(scheduler.add_noise(images, noise, steps), steps).sample
        loss = torch.nn.functional.mse_loss(found, noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        rates.step()
        optimizer.zero_grad()
        average.step(model.parameters())
        losses.append(float(loss))
    return [*losses, float(sum(p.double().abs().sum() for p in average.shadow_params))]


if __name__ == "__main__":
    found = {name: network(name) for name in NETWORKS}
    found |= {name: schedule(name) for name in SCHEDULES}
    found |= {"pipeline": pipeline(), "training": training()}
    with open(sys.argv[1], "w") as file:
        json.dump(found, file, indent=0)
