"""peft: adapters of many kinds trained on a small model, saved, loaded and merged.

`python adapters.py OUT.json` writes what it observes; run by flambeau in a test, by PyTorch for the golden file.
"""

import json
import sys
import tempfile
import warnings

import peft
import torch
import transformers as T

warnings.simplefilter("ignore")
T.logging.set_verbosity_error()

ONE, TWO = ["q_proj"], ["q_proj", "v_proj"]
ADAPTERS = {
    "lora": peft.LoraConfig(r=4, lora_dropout=0.1, target_modules=TWO),
    "lora, decomposed": peft.LoraConfig(r=4, use_dora=True, target_modules=ONE),
    "lora, from singular vectors": peft.LoraConfig(r=4, init_lora_weights="pissa", target_modules=ONE),
    "lora, from an orthogonal basis": peft.LoraConfig(r=4, init_lora_weights="olora", target_modules=ONE),
    "ia3": peft.IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]),
    "prefix": peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
    "prompt": peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
    "loha": peft.LoHaConfig(r=4, target_modules=ONE),
    "lokr": peft.LoKrConfig(r=4, target_modules=ONE),
    "adalora": peft.AdaLoraConfig(init_r=6, target_r=4, total_step=10, target_modules=ONE),
    "vera": peft.VeraConfig(r=8, target_modules=ONE),
    "oft": peft.OFTConfig(oft_block_size=8, target_modules=ONE),
}
MERGED = ("lora", "lora, decomposed", "ia3", "loha")


def base():
    torch.manual_seed(0)
    config = T.LlamaConfig(
        vocab_size=60,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return T.LlamaForCausalLM(config)


def observe(name):
    ids = torch.randint(3, 60, (2, 10), generator=torch.Generator().manual_seed(1))
    model = peft.get_peft_model(base(), ADAPTERS[name]).train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    found = {"trained": sum(p.numel() for p in trained), "losses": []}
    for _ in range(3):
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        found["losses"].append(float(loss))
    model.eval()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        model.save_pretrained(folder)
        loaded = peft.PeftModel.from_pretrained(base(), folder).eval()
        logits = model(input_ids=ids).logits
        found["logits"] = logits.flatten()[:30].tolist()
        found["same"] = torch.equal(loaded(input_ids=ids).logits, logits)
        if name in MERGED:
            merged = loaded.merge_and_unload()(input_ids=ids).logits
            found["merged is close"] = torch.allclose(merged, logits, atol=1e-4)
    return found


if __name__ == "__main__":
    with open(sys.argv[1], "w") as file:
        json.dump({name: observe(name) for name in ADAPTERS}, file, indent=0)
